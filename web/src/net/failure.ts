/** Why something that was asked for did not happen. */
export type FailureKind =
  /** The server's permissions do not let this person do it. */
  | "forbidden"
  /** Nobody serves it, or no answer came in time; it may have happened. */
  | "away"
  /** The connection ended first; it may have happened. */
  | "lost"
  /** The service said no; `code` is its number. */
  | "refused";

/** A request that failed. */
export class Failure extends Error {
  override readonly name = "Failure";

  constructor(
    readonly kind: FailureKind,
    said: string,
    readonly code: number = 0,
    /** For a 429: when to try again, in ms. */
    readonly retryAfter: number | null = null,
  ) {
    super(said);
  }
}

/** A connection that did not come about, by what the person can do about it. */
export class NoConnection extends Error {
  override readonly name = "NoConnection";

  constructor(
    readonly kind: "wrong-password" | "away" | "refused",
    said: string,
  ) {
    super(said);
  }
}

/** The sentence of whatever was thrown. */
export function sentence(error: unknown): string {
  return error instanceof Error && error.message !== "" ? error.message : String(error);
}
