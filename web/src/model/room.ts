import type { Entry, Live, Stored } from "./message";
import type { Position } from "./place";

/**
 * What the page knows of a room, as a pure reducer: `reduce` applies an event, `nextQuestion` says
 * what to ask history. In whatever order events come, the rows end as a fresh fetch would return
 * them: contiguous, and none twice.
 *
 * Everything of the room from the first row up to `upto` is in `rows`. A live message is appended
 * only if its `prev` shows that none is missing; else it goes to `waiting`, and history is asked
 * for what is after `upto`, one question at a time.
 */
export interface Room {
  /** The server has confirmed the live subscription. */
  readonly joined: boolean;
  readonly rows: readonly Stored[];
  readonly upto: Position | null;
  readonly hasOlder: boolean;
  readonly waiting: readonly Waiting[];
  /** Messages may be missing, or the log may be another one: ask once. */
  readonly doubt: boolean;
  /** The log is another one: drop the rows, ask for the last page. */
  readonly reload: boolean;
  /** The reader is far from the end: new messages are not appended, but asked for later. */
  readonly isHeld: boolean;
  readonly asking: { readonly turn: number; readonly question: TailQuestion } | null;
  readonly askingOlder: { readonly turn: number; readonly question: OlderQuestion } | null;
  /** Numbers questions. An answer to an earlier turn is ignored. */
  readonly turn: number;
  readonly problem: string | null;
  readonly olderProblem: string | null;
  readonly forbidden: boolean;
  /** The person's own messages that are acknowledged, but have no row yet. */
  readonly owed: readonly Owed[];
  /** The person's unacknowledged messages: the outbox's part of this room. */
  readonly unsent: readonly Entry[];
}

interface Waiting {
  readonly live: Live;
  /** It came before the question in flight was asked, so the answer settles it. */
  readonly asked: boolean;
}

interface Owed {
  readonly entry: Entry;
  readonly asked: boolean;
}

export type TailQuestion =
  | { readonly type: "last" }
  | { readonly type: "after"; readonly after: Position };
export type OlderQuestion = { readonly type: "before"; readonly before: Position };
export type Question = TailQuestion | OlderQuestion;

export interface Answer {
  /** Oldest first. */
  readonly rows: readonly Stored[];
  /** There are more in the direction of the question. */
  readonly more: boolean;
  /** Up to here, everything of the room is in the database or in this answer. */
  readonly head: Position;
}

export type RoomEvent =
  | { readonly type: "joined" | "lost" | "check" | "retry" }
  | { readonly type: "live"; readonly live: Live }
  | { readonly type: "asked"; readonly question: Question }
  | { readonly type: "answered"; readonly turn: number; readonly answer: Answer }
  | { readonly type: "failed"; readonly turn: number; readonly problem: string }
  | { readonly type: "forbidden" }
  | { readonly type: "unsent"; readonly entries: readonly Entry[] }
  | { readonly type: "acked"; readonly entry: Entry; readonly timestamp: number }
  | { readonly type: "trimmed"; readonly keep: number }
  | { readonly type: "held"; readonly isHeld: boolean };

export const EMPTY: Room = {
  joined: false,
  rows: [],
  upto: null,
  hasOlder: false,
  waiting: [],
  doubt: false,
  reload: false,
  isHeld: false,
  asking: null,
  askingOlder: null,
  turn: 0,
  problem: null,
  olderProblem: null,
  forbidden: false,
  owed: [],
  unsent: [],
};

/** The next question about the newest messages; null if there is none, or one is in flight. */
export function nextQuestion(room: Room): TailQuestion | null {
  if (!room.joined || room.asking || room.problem !== null || room.forbidden) return null;
  if (!room.upto || room.reload) return { type: "last" };
  if (room.isHeld) return null;
  return room.doubt || room.waiting.length > 0 ? { type: "after", after: room.upto } : null;
}

/** The question for the page before the first row; null if there is none. */
export function olderQuestion(room: Room): OlderQuestion | null {
  const before = room.rows[0]?.at;
  if (!room.joined || room.askingOlder || !room.hasOlder || !before) return null;
  return { type: "before", before };
}
