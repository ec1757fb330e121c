import { expect, it } from "vitest";
import type { Place } from "../../model/place";
import { Spots } from "./spots";

const GENERAL: Place = { realm: "chat", room: "general" };
const STAFF: Place = { realm: "admin", room: "general" };

const spot = { key: "bob/x", top: 12, at: { epoch: 1, seq: 7 } };

it("a room is found again where it was left, and no other one is", () => {
  const spots = new Spots();
  spots.leave(GENERAL, spot);
  expect(spots.of(GENERAL)).toEqual(spot);
  expect(spots.of(STAFF)).toBeNull();
});

it("whoever left a room at its end comes back to its end", () => {
  const spots = new Spots();
  spots.leave(GENERAL, spot);
  spots.leave(GENERAL, null);
  expect(spots.of(GENERAL)).toBeNull();
});
