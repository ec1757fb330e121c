import { expect, it } from "vitest";
import { messageKey, SENT, type Stored } from "../../model/message";
import { EMPTY, type Room } from "../../model/room";
import { Arrival } from "./arrival";
import type { RoomDriver } from "./driver";

/** A room with `count` messages, of which the last fifty are loaded. */
function driver(count: number, changes: Partial<Room> = {}) {
  const made = {
    room: EMPTY,
    loads: 0,
    loadOlder: () => {
      made.loads += 1;
      made.load(made.room.rows.length + 100);
    },
    load: (some: number) => {
      const first = Math.max(1, count - some + 1);
      const rows = Array.from({ length: count - first + 1 }, (_, index) => row(first + index));
      const upto = { epoch: 1, seq: count };
      made.room = { ...EMPTY, joined: true, rows, upto, hasOlder: first > 1, ...changes };
    },
  };
  made.load(50);
  return made;
}

function row(seq: number): Stored {
  const id = String(seq);
  const key = messageKey("bob", id);
  const at = { epoch: 1, seq };
  return { key, id, uid: "bob", name: "Bob", text: id, timestamp: 1, delivery: SENT, at };
}

function arrive(room: ReturnType<typeof driver>, seq: number | null) {
  const arrival = new Arrival();
  const lastRead = seq === null ? null : { epoch: 1, seq };
  for (let turn = 0; turn < 100; turn += 1) {
    arrival.follow(room as unknown as RoomDriver, lastRead);
  }
  return { isDone: arrival.isDone, loads: room.loads, first: room.room.rows[0]?.at.seq };
}

it("a room opens at once if the last read message is loaded, or none was read", () => {
  expect(arrive(driver(300), 260)).toEqual({ isDone: true, loads: 0, first: 251 });
  expect(arrive(driver(300), null)).toEqual({ isDone: true, loads: 0, first: 251 });
});

it("a room loads pages back to the last read message", () => {
  expect(arrive(driver(300), 100)).toEqual({ isDone: true, loads: 2, first: 51 });
  expect(arrive(driver(120), 0)).toEqual({ isDone: true, loads: 1, first: 1 });
});

it("a room loads no more rows than the limit", () => {
  expect(arrive(driver(5_000), 1)).toEqual({ isDone: true, loads: 20, first: 2951 });
});

it("a room opens with the loaded rows if no more can be loaded", () => {
  expect(arrive(driver(300, { joined: false }), 1)).toMatchObject({ isDone: true, loads: 0 });
  expect(arrive(driver(300, { olderProblem: "No." }), 1)).toMatchObject({ isDone: true, loads: 0 });
});

it("a room waits for its history before it opens", () => {
  expect(arrive(driver(300, { upto: null }), 1)).toMatchObject({ isDone: false, loads: 0 });
});
