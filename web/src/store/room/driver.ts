import type { Live } from "../../model/message";
import type { Place } from "../../model/place";
import {
  EMPTY,
  nextQuestion,
  olderQuestion,
  type Question,
  type RoomEvent,
} from "../../model/room";
import { reduce } from "../../model/room-reduce";
import type { Connection, Leave, OnLive } from "../../net/connection";
import { Failure, sentence } from "../../net/failure";

/** What a driver needs from its surroundings, which may trace it. */
export interface Surroundings {
  changed(): void;
  ask(connection: Connection, place: Place, question: Question): ReturnType<Connection["history"]>;
  heard(place: Place, live: Live, traceparent: string | null): void;
}

/**
 * Keeps one listed room up to date: joins it on each connection and asks history what its reducer
 * wants to know. The order makes the join gapless: first the subscription, until the server has
 * confirmed it; live messages from then on wait. Only then history, which holds every message that
 * was stored before it was asked. A message stored between the two is in both, and is counted once.
 * In the other order such a message would be in neither.
 */
export class RoomDriver {
  room = EMPTY;
  /** History is slow: live messages are shown without it. */
  isSlow = false;
  private connection: Connection | null = null;
  private leave: Leave | null = null;
  private failures = 0;
  /** How often in a row the server refused this room. */
  private refusals = 0;
  /** The server once accepted a join. */
  private wasIn = false;
  private joinTimer: Timer;
  private retryTimer: Timer;
  private slowTimer: Timer;
  private owedTimer: Timer;

  constructor(
    readonly place: Place,
    private readonly around: Surroundings,
  ) {}

  up(connection: Connection) {
    this.connection = connection;
    return this.join(connection);
  }

  private async join(connection: Connection) {
    const heard: OnLive = (live, traceparent) => {
      if (connection !== this.connection) return;
      this.dispatch({ type: "live", live });
      this.around.heard(this.place, live, traceparent);
    };
    try {
      const leave = await connection.join(this.place, heard, () => this.shutOut(connection));
      if (connection !== this.connection) return leave();
      this.leave = leave;
      this.wasIn = true;
      this.dispatch({ type: "joined" });
    } catch (error) {
      if (error instanceof Failure && error.kind === "forbidden") this.shutOut(connection);
    }
  }

  /** The server forbids this room. The join is retried: the permission may be granted again. */
  private shutOut(connection: Connection) {
    if (connection !== this.connection) return;
    this.leave?.();
    this.leave = null;
    this.dispatch({ type: "forbidden" });
    const longest = this.wasIn ? 5_000 : 30_000;
    const wait = Math.min(longest, 1_000 * 2 ** Math.min(this.refusals, 5));
    this.refusals += 1;
    clearTimeout(this.joinTimer);
    const join = () => {
      if (connection === this.connection) void this.join(connection);
    };
    this.joinTimer = setTimeout(join, wait * (0.5 + Math.random() / 2));
  }

  down() {
    this.connection = null;
    this.leave = null;
    this.failures = 0;
    this.refusals = 0;
    clearTimeout(this.joinTimer);
    this.dispatch({ type: "lost" });
  }

  /** For a room that is no longer listed. */
  stop() {
    this.leave?.();
    this.down();
    for (const timer of [this.retryTimer, this.slowTimer, this.owedTimer]) clearTimeout(timer);
  }

  dispatch(event: RoomEvent) {
    const before = this.room;
    this.room = reduce(before, event);
    if (this.room.owed.length > 0 && this.room.owed !== before.owed) this.expectOwed();
    if (this.room !== before) this.around.changed();
    const question = nextQuestion(this.room);
    if (question) void this.ask(question);
  }

  loadOlder() {
    const question = olderQuestion(this.room);
    if (question) void this.ask(question);
  }

  private async ask(question: Question) {
    const { connection } = this;
    if (!connection) return;
    // Taken before the dispatch, whose listeners may ask the next question at once.
    const turn = this.room.turn + 1;
    this.dispatch({ type: "asked", question });
    if (question.type !== "before") this.watchSlow();
    try {
      const answer = await this.answer(connection, question);
      if (connection !== this.connection) return;
      if (question.type !== "before") this.caughtUp();
      this.dispatch({ type: "answered", turn, answer });
    } catch (error) {
      if (connection === this.connection) this.failed(turn, error, question);
    }
  }

  /** Waits out a 429, as the server asks: it is no problem of the room. */
  private async answer(connection: Connection, question: Question) {
    for (;;) {
      try {
        return await this.around.ask(connection, this.place, question);
      } catch (error) {
        const wait = error instanceof Failure && error.code === 429 ? error.retryAfter : null;
        if (wait === null) throw error;
        // Random, so that not all rooms ask again at once.
        await new Promise((resume) => setTimeout(resume, wait * (1 + Math.random())));
        if (connection !== this.connection) throw error;
      }
    }
  }

  private failed(turn: number, error: unknown, question: Question) {
    if (question.type !== "before") this.quick();
    const { connection } = this;
    if (connection && error instanceof Failure && error.kind === "forbidden") {
      return this.shutOut(connection);
    }
    this.dispatch({ type: "failed", turn, problem: problem(error) });
    clearTimeout(this.retryTimer);
    const wait = Math.min(30_000, 1_000 * 2 ** Math.min(this.failures, 5));
    this.failures += 1;
    const retry = () => this.dispatch({ type: "retry" });
    this.retryTimer = setTimeout(retry, wait * (0.5 + Math.random() / 2));
  }

  private watchSlow() {
    clearTimeout(this.slowTimer);
    this.slowTimer = setTimeout(() => {
      this.isSlow = true;
      this.around.changed();
    }, SLOW_MS);
  }

  private caughtUp() {
    this.failures = 0;
    this.refusals = 0;
    clearTimeout(this.retryTimer);
    this.quick();
  }

  private quick() {
    clearTimeout(this.slowTimer);
    this.isSlow = false;
  }

  /** The person's own message should come live at once. If it does not, the live copy was lost. */
  private expectOwed() {
    clearTimeout(this.owedTimer);
    this.owedTimer = setTimeout(() => {
      if (this.room.owed.length > 0) this.dispatch({ type: "check" });
    }, OWED_MS);
  }
}

type Timer = ReturnType<typeof setTimeout> | undefined;

const SLOW_MS = 800;
const OWED_MS = 1_000;

function problem(error: unknown): string {
  const isAway =
    error instanceof Failure && (error.kind === "away" || [503, 504].includes(error.code));
  if (isAway) return "The history of this room is not available at the moment.";
  return `The history of this room could not be read: ${sentence(error)}`;
}
