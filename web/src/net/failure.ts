/** Why a request failed. */
export type FailureKind =
  /** The server's permissions do not allow it. */
  | "forbidden"
  /** No instance of the service runs, or none answered in time; it may have happened. */
  | "away"
  /** The connection ended before the answer; it may have happened. */
  | "lost"
  /** The service refused; `code` is its error code. */
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

/** A connection that failed; `kind` is what the person can do about it. */
export class NoConnection extends Error {
  override readonly name = "NoConnection";

  constructor(
    readonly kind: "wrong-password" | "away" | "refused",
    said: string,
  ) {
    super(said);
  }
}

/** The message of a thrown value. */
export function sentence(error: unknown): string {
  return error instanceof Error && error.message !== "" ? error.message : String(error);
}
