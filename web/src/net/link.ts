import type { Connection } from "./connection";
import { NoConnection, sentence } from "./failure";

/** Whether there is a connection. Times in ms since 1970. */
export type LinkStatus =
  | { readonly state: "connecting" }
  | { readonly state: "online" }
  | {
      readonly state: "offline";
      readonly since: number;
      /** When the next attempt begins; null while one runs. */
      readonly retryAt: number | null;
      /** Why the last attempt failed; null before the first one. */
      readonly why: NoConnection | null;
    };

/** The events of a link. */
export interface LinkEvents {
  /** A connection is open: join everything and ask for what was missed. */
  up(connection: Connection): void;
  down(): void;
  /** The server refuses this person; the link has stopped. */
  refused(why: NoConnection): void;
  changed(): void;
}

/** Keeps the page connected, one connection after the other, until it is stopped. */
export class Link {
  status: LinkStatus = { state: "connecting" };
  private connection: Connection | null = null;
  /** Numbers attempts: the connection of an older one is closed. */
  private turn = 0;
  private failures = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly connect: () => Promise<Connection>,
    private readonly events: LinkEvents,
    /** Retries even a failed first attempt: for a page reloaded during an outage. */
    private readonly patient: boolean,
  ) {}

  start() {
    this.attempt();
  }

  stop() {
    this.turn += 1;
    clearTimeout(this.timer);
    this.connection?.close();
    this.connection = null;
  }

  /** Retries at once, or checks whether the open connection is alive. */
  wake() {
    // A running attempt may be stuck; the next one then follows soon.
    this.failures = 0;
    if (this.connection) this.connection.probe();
    else if (this.status.state === "offline" && this.status.retryAt !== null) this.attempt();
  }

  private async attempt() {
    clearTimeout(this.timer);
    this.turn += 1;
    const { turn } = this;
    if (this.status.state === "offline") this.show({ ...this.status, retryAt: null });
    try {
      const connection = await this.connect();
      if (turn !== this.turn) return connection.close();
      this.begin(connection, turn);
    } catch (error) {
      if (turn === this.turn) this.failed(error);
    }
  }

  private begin(connection: Connection, turn: number) {
    this.connection = connection;
    this.failures = 0;
    this.show({ state: "online" });
    this.events.up(connection);
    const since = Date.now();
    connection.ended.then((why) => {
      if (turn !== this.turn) return;
      this.connection = null;
      this.events.down();
      // After the end of a session the next connection need not wait, unless this one was so brief that
      // the next one may be too.
      if (why === "lost" || Date.now() - since < FIRST_PAUSE_MS) return this.pause(null);
      this.offline(null, null);
      this.attempt();
    });
  }

  private failed(error: unknown) {
    const why = error instanceof NoConnection ? error : new NoConnection("away", sentence(error));
    const hadOne = this.status.state === "offline";
    if (goesOn(why.kind, hadOne, this.patient)) return this.pause(why);
    this.stop();
    this.events.refused(why);
  }

  private pause(why: NoConnection | null) {
    const wait = pause(this.failures);
    this.failures += 1;
    this.timer = setTimeout(() => this.attempt(), wait);
    this.offline(why, Date.now() + wait);
  }

  private offline(why: NoConnection | null, retryAt: number | null) {
    const since = this.status.state === "offline" ? this.status.since : Date.now();
    this.show({ state: "offline", since, retryAt, why });
  }

  private show(status: LinkStatus) {
    this.status = status;
    this.events.changed();
  }
}

/** Whether an attempt is repeated. `hadOne`: there was a connection, or an attempt that is repeated. */
function goesOn(kind: NoConnection["kind"], hadOne: boolean, isPatient: boolean): boolean {
  switch (kind) {
    case "wrong-password":
    case "session-ended":
      return false;
    case "sign-in-away":
      return true;
    case "away":
      return hadOne || isPatient;
    case "refused":
      // A starting server may refuse for a moment.
      return hadOne;
  }
}

const FIRST_PAUSE_MS = 400;
/** With the 5 s of a stuck attempt, a connection returns within 10 s after the network. */
const LONGEST_PAUSE_MS = 3_000;

/** Half of each pause is random, so that not all pages connect to a restarted server at once. */
export function pause(failures: number, chance = Math.random()): number {
  const full = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(failures, 10));
  return full / 2 + (full / 2) * chance;
}
