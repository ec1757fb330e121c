import { hasKey } from "./keys";
import { type Entry, SENT } from "./message";
import type { Question, Room, RoomEvent } from "./room";
import { answered } from "./room-answer";
import { heard } from "./room-live";

/** Applies an event. */
export function reduce(room: Room, event: RoomEvent): Room {
  switch (event.type) {
    case "joined":
      // Messages from before the subscription show in no `prev`.
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
      return settleOwn(heard(room, event.live));
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
    case "held":
      if (room.isHeld === event.isHeld) return room;
      return { ...room, isHeld: event.isHeld, doubt: true };
  }
}

function forgetQuestions(room: Room): Room {
  // The problems go with their questions: after the next join they are asked again.
  return { ...room, asking: null, askingOlder: null, problem: null, olderProblem: null };
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

/** Shows the person's own message once: as its row, as soon as there is one. */
function settleOwn(room: Room): Room {
  if (room.owed.length === 0) return room;
  const owed = room.owed.filter(({ entry }) => !hasKey(room.rows, entry.key));
  return owed.length === room.owed.length ? room : { ...room, owed };
}

function trimmed(room: Room, keep: number): Room {
  if (room.rows.length <= keep) return room;
  return { ...room, rows: room.rows.slice(-keep), hasOlder: true };
}
