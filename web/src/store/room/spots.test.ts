import { expect, it } from "vitest";
import type { Place } from "../../model/place";
import { Spots } from "./spots";

const GENERAL: Place = { realm: "chat", room: "general" };
const STAFF: Place = { realm: "admin", room: "general" };

const spot = { key: "bob/x", top: 12, at: { epoch: 1, seq: 7 } };

it("a room opens where it was left, others do not", () => {
  const spots = new Spots();
  spots.leave(GENERAL, spot);
  expect(spots.of(GENERAL)).toEqual(spot);
  expect(spots.of(STAFF)).toBeNull();
});

it("a room that was left at its end opens at its end", () => {
  const spots = new Spots();
  spots.leave(GENERAL, spot);
  spots.leave(GENERAL, null);
  expect(spots.of(GENERAL)).toBeNull();
});
