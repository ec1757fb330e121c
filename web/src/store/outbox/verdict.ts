import { Failure, sentence } from "../../net/failure";

/** What to do with a message whose sending failed. */
export type Verdict =
  /** Refused: a retry would be refused again. */
  | { readonly type: "failed"; readonly reason: string; readonly conflict: boolean }
  /** Retry with the same id: if it is already in the log, the answer says so. */
  | { readonly type: "again"; readonly problem: string; readonly wait: number }
  /** Not connected: the next connection retries. */
  | { readonly type: "offline" };

const LONGEST_WAIT_MS = 15_000;
const INTERNAL_TRIES = 4;

/** `tries` counts the failures in a row, this one not included. */
export function judge(error: unknown, tries: number, chance = Math.random()): Verdict {
  const failure = error instanceof Failure ? error : new Failure("refused", sentence(error), 500);
  const wait = Math.min(LONGEST_WAIT_MS, 500 * 2 ** Math.min(tries, 6)) * (0.5 + chance / 2);
  switch (failure.kind) {
    case "lost":
      return { type: "offline" };
    case "forbidden":
      return failed("You may not write in this room.");
    case "away":
      return { type: "again", problem: "The chat takes no messages at the moment.", wait };
    case "refused":
      return refused(failure, wait, tries);
  }
}

/** Why a message was not sent that the browser could not store. */
export function notKept(error: unknown): string {
  const isFull = error instanceof DOMException && error.name === "QuotaExceededError";
  if (isFull)
    return "This browser keeps nothing more for this page. Free some space and try again.";
  return "This browser could not keep it. Try again.";
}

function refused({ code, message, retryAfter }: Failure, wait: number, tries: number): Verdict {
  switch (code) {
    case 429: {
      const problem = "Too many messages in a short time: this one waits for its turn.";
      return { type: "again", problem, wait: retryAfter ?? wait };
    }
    case 503:
    case 504:
      return { type: "again", problem: "The chat takes no messages at the moment.", wait };
    case 500:
      if (tries + 1 < INTERNAL_TRIES) {
        return { type: "again", problem: "The chat had an error.", wait };
      }
      return failed("The chat had an error. Try again later.");
    case 409:
      return { ...failed("Another message was sent under the same id."), conflict: true };
    case 413:
      return failed("The message is too large. Shorten it.");
    default:
      return failed(asSentence(message));
  }
}

function failed(reason: string) {
  return { type: "failed", reason, conflict: false } as const;
}

/** The service's error message as a sentence. */
function asSentence(message: string): string {
  if (message === "") return "The chat refused it.";
  const said = message.charAt(0).toUpperCase() + message.slice(1);
  return /[.!?]$/.test(said) ? said : `${said}.`;
}
