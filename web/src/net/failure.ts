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

/**
 * A connection that failed; `kind` is what can be done about it. `sign-in-away`: nobody can log in at
 * the moment; who they are was not questioned, so the page tries again. `session-ended`: log in again.
 */
export class NoConnection extends Error {
  override readonly name = "NoConnection";

  constructor(
    readonly kind: "wrong-password" | "session-ended" | "sign-in-away" | "away" | "refused",
    said: string,
  ) {
    super(said);
  }
}

/** The sign-in service does not answer. */
export function signInAway(): NoConnection {
  return new NoConnection("sign-in-away", "The sign-in service is unavailable. Trying again.");
}

/** The message of a thrown value. */
export function sentence(error: unknown): string {
  return error instanceof Error && error.message !== "" ? error.message : String(error);
}
