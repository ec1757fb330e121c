import { expect, it } from "vitest";
import { messageKey, SENT, type Stored } from "../../model/message";
import { EMPTY } from "../../model/room";
import type { RoomDriver } from "./driver";
import { Jump } from "./jump";

/** A room with the messages 1 to 20 but 7, of which the last five are loaded. */
function driver() {
  const made = {
    room: EMPTY,
    loads: 0,
    loadOlder: () => {
      made.loads += 1;
      made.load(15 - 5 * made.loads);
    },
    load: (after: number) => {
      const seqs = Array.from({ length: 20 }, (_, index) => index + 1);
      const rows = seqs.filter((seq) => seq > after && seq !== 7).map(row);
      made.room = { ...EMPTY, rows, upto: { epoch: 1, seq: 20 }, hasOlder: after > 0 };
    },
  };
  made.load(15);
  return made;
}

function row(seq: number): Stored {
  const id = String(seq);
  const key = messageKey("bob", id);
  const at = { epoch: 1, seq };
  return { key, id, uid: "bob", name: "Bob", text: id, timestamp: 1, delivery: SENT, at };
}

function follow(seq: number) {
  const room = driver();
  const jump = new Jump({ epoch: 1, seq }, 1);
  for (let turn = 0; turn < 10; turn += 1) jump.follow(room as unknown as RoomDriver);
  return { ...jump.target, loads: room.loads };
}

it("a permalink loads pages back to its message", () => {
  expect(follow(18)).toMatchObject({ state: "found", key: "bob/18", loads: 0 });
  expect(follow(9)).toMatchObject({ state: "found", key: "bob/9", loads: 2 });
});

it("a permalink to a missing message says so, and loads no more than necessary", () => {
  expect(follow(7)).toMatchObject({ state: "missing", loads: 2 });
  expect(follow(99)).toMatchObject({ state: "missing", loads: 0 });
});
