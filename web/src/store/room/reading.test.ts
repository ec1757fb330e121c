// @vitest-environment happy-dom
import { beforeEach, describe, expect, it } from "vitest";
import { messageKey, SENT, type Stored } from "../../model/message";
import type { Place } from "../../model/place";
import { EMPTY, type Room } from "../../model/room";
import { StoredValue } from "../storage/stored-value";
import { firstAfter, type LastRead, Reading, unread } from "./reading";

const GENERAL: Place = { realm: "chat", room: "general" };

function room(...writers: string[]): Room {
  const rows = writers.map((uid, index): Stored => {
    const id = String(index + 1);
    const at = { epoch: 1, seq: index + 1 };
    const key = messageKey(uid, id);
    return { key, id, uid, name: uid, text: id, timestamp: 1, delivery: SENT, at };
  });
  return { ...EMPTY, rows, upto: { epoch: 1, seq: writers.length }, hasOlder: true };
}

function kept() {
  return new StoredValue<LastRead>(localStorage, "read", "alice", {});
}

const at = (seq: number, epoch = 1) => ({ epoch, seq });

beforeEach(() => localStorage.clear());

describe("what is unread", () => {
  it("is what others wrote after the last read message", () => {
    expect(unread(room("bob", "bob", "alice", "bob"), at(1), "alice")).toEqual({
      count: 2,
      more: false,
    });
  });

  it("may be more than is loaded", () => {
    const { rows, ...rest } = room("bob", "bob", "bob");
    expect(unread({ ...rest, rows: rows.slice(1) }, at(0), "alice")).toEqual({
      count: 2,
      more: true,
    });
  });

  it("begins at the first message by somebody else", () => {
    const { rows } = room("bob", "alice", "bob", "bob");
    expect(firstAfter(rows, at(1), "alice")?.at.seq).toBe(3);
    expect(firstAfter(rows, at(4), "alice")).toBeNull();
  });
});

describe("last read", () => {
  it("survives a reload, even for a room named like a property of Object.prototype", () => {
    const proto: Place = { realm: "chat", room: "__proto__" };
    expect(new Reading(kept()).lastRead(proto)).toBeNull();
    expect(new Reading(kept()).mark(proto, room("bob"))).toBe(true);
    expect(new Reading(kept()).lastRead(proto)).toEqual(at(1));
  });

  it("moves forward only, unless the log was lost", () => {
    const reading = new Reading(kept());
    reading.mark(GENERAL, room("bob", "bob", "bob"));
    expect(reading.mark(GENERAL, { ...room("bob"), upto: at(3) })).toBe(false);
    expect(reading.lastRead(GENERAL)).toEqual(at(3));
    expect(reading.mark(GENERAL, room("bob"))).toBe(true);
    expect(reading.lastRead(GENERAL)).toEqual(at(1));
  });

  it("of another tab is taken over", () => {
    const [keep, other] = [kept(), kept()];
    new Reading(other).mark(GENERAL, room("bob"));
    const key = "chat.read.alice";
    expect(keep.heard(new StorageEvent("storage", { key: "chat.read.bob" }))).toBe(false);
    expect(keep.heard(new StorageEvent("storage", { key }))).toBe(true);
    expect(new Reading(keep).lastRead(GENERAL)).toEqual(at(1));
  });

  it("tolerates invalid storage, and none", () => {
    localStorage.setItem("chat.read.alice", "[nonsense");
    expect(new Reading(kept()).lastRead(GENERAL)).toBeNull();
    localStorage.setItem("chat.read.alice", "[]");
    expect(new Reading(kept()).lastRead(GENERAL)).toBeNull();
  });
});
