import type { Stored } from "./message";
import { comparePositions, type Position } from "./place";
import type { Answer, OlderQuestion, Room } from "./room";
import { heard } from "./room-live";

/** Applies an answer of history. An answer to an outdated question is ignored. */
export function answered(room: Room, turn: number, answer: Answer): Room {
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
  // Live messages since the question keep waiting: their epoch is certain only when the next answer
  // has the same epoch.
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
  // Everything up to `after` was in the log once, so a head below it belongs to another log.
  if (isNewEpoch || (!answer.more && comparePositions(answer.head, after) < 0)) {
    return { ...room, asking: null, reload: true };
  }
  const rows = merge(room.rows, answer.rows);
  if (answer.more) {
    // A page with `more` leads to the next one; without a message, that would never end.
    if (!newest || comparePositions(newest, after) <= 0) {
      return { ...room, asking: null, problem: ENDLESS };
    }
    return { ...room, asking: null, rows, upto: later(upto, newest), doubt: true };
  }
  const rest = settle({ ...room, rows, upto: later(upto, answer.head) });
  const { waiting } = rest;
  return waiting.reduce<Room>((next, one) => heard(next, one.live), { ...rest, waiting: [] });
}

/** Removes the answered question and what it settles: what has no row now gets none. */
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
  // The rows were reloaded or trimmed meanwhile, so the page no longer borders on them.
  if (!first || comparePositions(first, question.before) !== 0) return rest;
  if (answer.more && answer.rows.length === 0) {
    return { ...rest, olderProblem: ENDLESS };
  }
  return { ...rest, rows: merge(room.rows, answer.rows), hasOlder: answer.more };
}

/** Merges rows and a page of history in the log's order. Where they differ, history is right. */
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

const ENDLESS = "History answers pages without messages.";
