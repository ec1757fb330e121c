import type { Entry, Live, Stored } from "./message";
import type { Position } from "./place";

/**
 * What the page knows of a room, as a pure reducer: `reduce` takes what happened, `nextQuestion`
 * says what history is to be asked. However events interleave, the rows end as a fresh fetch would
 * give them: one contiguous set, none twice.
 *
 * Everything of the room from the first row up to `upto` is in `rows`. A live message joins them
 * only where the chain shows that nothing lies between; else it waits in `waiting`, and history
 * is asked for what is after `upto`, one question at a time.
 */
export interface Room {
  /** The live subscription stands, and the server has confirmed it. */
  readonly joined: boolean;
  readonly rows: readonly Stored[];
  readonly upto: Position | null;
  readonly hasOlder: boolean;
  readonly waiting: readonly Waiting[];
  /** Something may be missing, or the log may have begun anew: ask once. */
  readonly doubt: boolean;
  /** The log did begin anew: forget the rows, ask for the last page. */
  readonly reload: boolean;
  /** The reader is far from the end: what comes there is not taken in, and asked for later. */
  readonly isHeld: boolean;
  readonly asking: { readonly turn: number; readonly question: TailQuestion } | null;
  readonly askingOlder: { readonly turn: number; readonly question: OlderQuestion } | null;
  /** Numbers questions. An answer to another turn is of the past, and ignored. */
  readonly turn: number;
  readonly problem: string | null;
  readonly olderProblem: string | null;
  readonly forbidden: boolean;
  /** One's own messages that the log has taken and whose row has not come yet. */
  readonly owed: readonly Owed[];
  /** One's own messages on their way: the outbox's part of this room. */
  readonly unsent: readonly Entry[];
}

interface Waiting {
  readonly live: Live;
  /** The question in flight was asked after it came, so the answer settles it. */
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
  /** More lie in the direction that was asked for. */
  readonly more: boolean;
  /** Everything of the room up to here is stored or in this answer. */
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

/** What is to be asked now about the newest messages; null where nothing is, or one is in flight. */
export function nextQuestion(room: Room): TailQuestion | null {
  if (!room.joined || room.asking || room.problem !== null || room.forbidden) return null;
  if (!room.upto || room.reload) return { type: "last" };
  if (room.isHeld) return null;
  return room.doubt || room.waiting.length > 0 ? { type: "after", after: room.upto } : null;
}

/** What is to be asked for the page above the first row; null where there is none. */
export function olderQuestion(room: Room): OlderQuestion | null {
  const before = room.rows[0]?.at;
  if (!room.joined || room.askingOlder || !room.hasOlder || !before) return null;
  return { type: "before", before };
}
