import { type Live, SENT, type Stored } from "./message";
import { comparePositions, type Position } from "./place";
import type { Entry } from "./view";

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
  | { readonly type: "trimmed"; readonly keep: number };

export const EMPTY: Room = {
  joined: false,
  rows: [],
  upto: null,
  hasOlder: false,
  waiting: [],
  doubt: false,
  reload: false,
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
  return room.doubt || room.waiting.length > 0 ? { type: "after", after: room.upto } : null;
}

/** What is to be asked for the page above the first row; null where there is none. */
export function olderQuestion(room: Room): OlderQuestion | null {
  const before = room.rows[0]?.at;
  if (!room.joined || room.askingOlder || !room.hasOlder || !before) return null;
  return { type: "before", before };
}

export function reduce(room: Room, event: RoomEvent): Room {
  switch (event.type) {
    case "joined":
      // What was sent while nobody listened shows in no chain.
      return { ...forgetQuestions(room), joined: true, doubt: true, forbidden: false };
    case "lost":
      return { ...forgetQuestions(room), joined: false };
    case "check":
      return { ...room, doubt: true };
    case "retry":
      return { ...room, problem: null, olderProblem: null, doubt: true };
    case "forbidden":
      return { ...forgetQuestions(room), forbidden: true };
    case "live":
      return settleOwn(live(room, event.live));
    case "asked":
      return asked(room, event.question);
    case "answered":
      return settleOwn(answered(room, event.turn, event.answer));
    case "failed":
      return failed(room, event.turn, event.problem);
    case "unsent":
      return { ...room, unsent: event.entries };
    case "acked":
      return settleOwn(acked(room, event.entry, event.timestamp));
    case "trimmed":
      return trimmed(room, event.keep);
  }
}

function forgetQuestions(room: Room): Room {
  // The problem goes with its question: whoever joins anew asks anew.
  return { ...room, asking: null, askingOlder: null, problem: null, olderProblem: null };
}

function live(room: Room, live: Live): Room {
  const { upto } = room;
  if (!upto || room.reload || room.waiting.length > 0) return wait(room, live);
  if (live.seq <= upto.seq) {
    // Its row came with an answer that overtook it; or the log began anew and counts from 1.
    const isKnown = room.rows.some(({ at, key }) => isAt(at, upto, live) && key === keyOf(live));
    return isKnown ? room : { ...room, doubt: true };
  }
  const known = live.message !== null && room.rows.some(({ key }) => key === keyOf(live));
  const isClear = live.message !== null && (known || !live.stale || !room.hasOlder);
  // 0 is also what the log says when it has forgotten the message before.
  const follows = live.prev > 0 && live.prev <= upto.seq;
  return isClear && follows ? append(room, upto, live) : wait(room, live);
}

function wait(room: Room, live: Live): Room {
  return { ...room, waiting: [...room.waiting, { live, asked: false }] };
}

function append(room: Room, upto: Position, live: Live): Room {
  const at = { epoch: upto.epoch, seq: live.seq };
  // A repeat of a message owns a sequence and no row.
  const isRepeat = room.rows.some(({ key }) => key === keyOf(live));
  const rows = live.message && !isRepeat ? [...room.rows, { ...live.message, at }] : room.rows;
  return { ...room, rows, upto: at };
}

function asked(room: Room, question: Question): Room {
  const turn = room.turn + 1;
  if (question.type === "before") {
    return { ...room, turn, askingOlder: { turn, question }, olderProblem: null };
  }
  return {
    ...room,
    turn,
    asking: { turn, question },
    doubt: false,
    waiting: room.waiting.map((waiting) => ({ ...waiting, asked: true })),
    owed: room.owed.map((owed) => ({ ...owed, asked: true })),
  };
}

function answered(room: Room, turn: number, answer: Answer): Room {
  if (room.askingOlder?.turn === turn) {
    return answeredOlder(room, room.askingOlder.question, answer);
  }
  if (room.asking?.turn !== turn) return room;
  const { question } = room.asking;
  if (question.type === "last") return answeredLast(room, answer);
  return answeredAfter(room, question.after, answer);
}

function answeredLast(room: Room, answer: Answer): Room {
  const rest = settle(room);
  // Whatever came since the question waits for the next one: only an answer that finds the log
  // in the same life as before tells which life a live message is of.
  return {
    ...rest,
    rows: answer.rows,
    hasOlder: answer.more,
    upto: answer.head,
    reload: false,
    askingOlder: null,
  };
}

function answeredAfter(room: Room, after: Position, answer: Answer): Room {
  const { upto } = room;
  const newest = answer.rows.at(-1)?.at;
  if (!upto) return room;
  const isNewEpoch = [answer.head, newest].some((at) => at && at.epoch !== upto.epoch);
  // Everything up to `after` was in the log once. A head below it is that of another log.
  if (isNewEpoch || (!answer.more && comparePositions(answer.head, after) < 0)) {
    return { ...room, asking: null, reload: true };
  }
  const rows = merge(room.rows, answer.rows);
  if (answer.more) {
    // Full pages go on. One without a message would go on forever.
    if (!newest || comparePositions(newest, after) <= 0) {
      return failed(room, room.turn, "History answers pages without messages.");
    }
    return { ...room, asking: null, rows, upto: later(upto, newest), doubt: true };
  }
  const rest = settle({ ...room, rows, upto: later(upto, answer.head) });
  const { waiting } = rest;
  return waiting.reduce<Room>((next, one) => live(next, one.live), { ...rest, waiting: [] });
}

/** Takes the answered question out, and with it what it settles: what has no row by now has none. */
function settle(room: Room): Room {
  return {
    ...room,
    asking: null,
    problem: null,
    waiting: room.waiting.filter(({ asked }) => !asked),
    owed: room.owed.filter(({ asked }) => !asked),
  };
}

function answeredOlder(room: Room, question: OlderQuestion, answer: Answer): Room {
  const first = room.rows[0]?.at;
  const rest = { ...room, askingOlder: null };
  // The rows were loaded anew or trimmed meanwhile: the page does not lie above them any more.
  if (!first || comparePositions(first, question.before) !== 0) return rest;
  if (answer.more && answer.rows.length === 0) {
    return { ...rest, olderProblem: "History answers pages without messages." };
  }
  return { ...rest, rows: merge(room.rows, answer.rows), hasOlder: answer.more };
}

function failed(room: Room, turn: number, problem: string): Room {
  if (room.askingOlder?.turn === turn) {
    return { ...room, askingOlder: null, olderProblem: problem };
  }
  if (room.asking?.turn !== turn) return room;
  return { ...room, asking: null, problem };
}

function acked(room: Room, entry: Entry, timestamp: number): Room {
  const owed = { entry: { ...entry, timestamp, delivery: SENT }, asked: false };
  return {
    ...room,
    owed: [...room.owed.filter((other) => other.entry.key !== entry.key), owed],
    unsent: room.unsent.filter(({ key }) => key !== entry.key),
  };
}

/** One's own message is shown once: as its row where there is one, in the same place in the list. */
function settleOwn(room: Room): Room {
  if (room.owed.length === 0) return room;
  const owed = room.owed.filter(({ entry }) => !room.rows.some(({ key }) => key === entry.key));
  return owed.length === room.owed.length ? room : { ...room, owed };
}

function trimmed(room: Room, keep: number): Room {
  if (room.rows.length <= keep) return room;
  return { ...room, rows: room.rows.slice(-keep), hasOlder: true };
}

/** Rows and a page of history in the log's order. Where both have a message, history is right. */
function merge(rows: readonly Stored[], page: readonly Stored[]): readonly Stored[] {
  if (page.length === 0) return rows;
  const known = new Map(rows.map((row) => [row.key, row]));
  const told = page.map((row) => {
    const same = known.get(row.key);
    return same && comparePositions(same.at, row.at) === 0 ? same : row;
  });
  const keys = new Set(told.map(({ key }) => key));
  const all = [...rows.filter(({ key }) => !keys.has(key)), ...told];
  return all.sort((a, b) => comparePositions(a.at, b.at));
}

function later(a: Position, b: Position): Position {
  return comparePositions(a, b) < 0 ? b : a;
}

function isAt(at: Position, upto: Position, live: Live): boolean {
  return at.epoch === upto.epoch && at.seq === live.seq;
}

function keyOf(live: Live): string | undefined {
  return live.message?.key;
}
