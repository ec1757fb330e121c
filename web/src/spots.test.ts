import { expect, it } from "vitest";
import { messageKey, SENT, type Stored } from "./message";
import type { Place } from "./place";
import { EMPTY } from "./room";
import { Spots } from "./spots";

const GENERAL: Place = { realm: "chat", room: "general" };
const STAFF: Place = { realm: "admin", room: "general" };

const at = { epoch: 1, seq: 7 };
const key = messageKey("bob", "x");
const row: Stored = {
  key,
  id: "x",
  uid: "bob",
  name: "Bob",
  text: "x",
  timestamp: 1,
  delivery: SENT,
  at,
};
const room = { ...EMPTY, rows: [row] };

it("a room is found again where it was left, and no other one is", () => {
  const spots = new Spots();
  spots.leave(GENERAL, room, { key, top: 12 });
  expect(spots.of(GENERAL)).toEqual({ key, top: 12, at });
  expect(spots.of(STAFF)).toBeNull();
});

it("whoever left a room at its end comes back to its end", () => {
  const spots = new Spots();
  spots.leave(GENERAL, room, { key, top: 12 });
  spots.leave(GENERAL, room, null);
  expect(spots.of(GENERAL)).toBeNull();
});

it("a message that stands in no log yet is a spot all the same", () => {
  const spots = new Spots();
  spots.leave(GENERAL, room, { key: "unsent", top: 0 });
  expect(spots.of(GENERAL)).toEqual({ key: "unsent", top: 0, at: null });
});
