import { expect, it } from "vitest";
import { type Entry, messageKey, SENT, type Stored } from "../../model/message";
import { EMPTY, type Room } from "../../model/room";
import { RoomDriver } from "./driver";
import { show } from "./room-view";

const AT = { epoch: 1, seq: 1 };

const ROW: Stored = {
  key: messageKey("bob", "1"),
  id: "1",
  uid: "bob",
  name: "Bob",
  text: "first",
  timestamp: 1,
  delivery: SENT,
  at: AT,
};

const OWN: Entry = { ...ROW, key: messageKey("alice", "2"), uid: "alice", at: null };

function shown(room: Partial<Room>, isOffline = false) {
  const driver = new RoomDriver(
    { realm: "chat", room: "general" },
    { changed: () => {}, ask: () => Promise.reject(new Error("nobody answers")), heard: () => {} },
  );
  driver.room = { ...EMPTY, ...room };
  return show(driver, isOffline);
}

it("a room whose history was never read has no known beginning", () => {
  expect(shown({ unsent: [OWN], problem: "History is down." }).older.state).toBe("unknown");
  expect(shown({ unsent: [OWN] }).older.state).toBe("unknown");
});

it("a room that was never read says offline that its history comes later", () => {
  expect(shown({ unsent: [OWN] }, true).older.state).toBe("away");
  expect(shown({ rows: [ROW], upto: AT }, true).older.state).toBe("none");
});

it("a room begins where history says that nothing is older", () => {
  expect(shown({ rows: [ROW], upto: AT }).older.state).toBe("none");
  expect(shown({ rows: [ROW], upto: AT, hasOlder: true }).older.state).toBe("some");
});
