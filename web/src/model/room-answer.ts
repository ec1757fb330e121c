import type { Stored } from "./message";
import { comparePositions, type Position } from "./place";
import type { Answer, OlderQuestion, Room } from "./room";
import { heard } from "./room-live";

/** Takes an answer of history in; one to another turn's question is of the past, and ignored. */
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
      return { ...room, asking: null, problem: ENDLESS };
    }
    return { ...room, asking: null, rows, upto: later(upto, newest), doubt: true };
  }
  const rest = settle({ ...room, rows, upto: later(upto, answer.head) });
  const { waiting } = rest;
  return waiting.reduce<Room>((next, one) => heard(next, one.live), { ...rest, waiting: [] });
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
    return { ...rest, olderProblem: ENDLESS };
  }
  return { ...rest, rows: merge(room.rows, answer.rows), hasOlder: answer.more };
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

const ENDLESS = "History answers pages without messages.";
