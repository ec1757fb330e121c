import { describe, expect, it } from "vitest";
import { readLive, readPage } from "./payload";

const GENERAL = { realm: "chat", room: "general" } as const;
const TIME = 1_700_000_000_123;

const SENT = {
  id: "1",
  user: "Alice",
  uid: "alice",
  text: 'hello "you" \u0007 ✓',
  timestamp: TIME,
  room: "general",
};

function read(payload: string, headers: Record<string, string> = {}) {
  const all: Record<string, string> = {
    "Nats-Sequence": "7",
    "Nats-Last-Sequence": "5",
    "Nats-Time-Stamp": "2023-11-14T22:13:20.123456789Z",
    ...headers,
  };
  return readLive(GENERAL, new TextEncoder().encode(payload), (name) => all[name]);
}

describe("a live message", () => {
  it("of send is recognized", () => {
    expect(read(JSON.stringify(SENT))).toMatchObject({
      seq: 7,
      prev: 5,
      message: { key: "alice/1", name: "Alice", text: SENT.text, timestamp: TIME },
      stale: false,
    });
  });

  it("of a back end has the id that the service gives it", () => {
    const told = JSON.stringify({ user: "Bot", text: "x", timestamp: TIME });
    expect(read(told)?.message).toMatchObject({ uid: "", id: "7-1700000000123456789" });
    expect(read(told, { "Nats-Msg-Id": "job" })?.message?.key).toBe("/job");
  });

  it("of a back end that was replayed is left to history, which knows its first id", () => {
    const told = JSON.stringify({ user: "Bot", text: "x", timestamp: TIME });
    const replay = { "Nats-Msg-Id": "new", "Dead-Letter-Replay-Of": "LOG.3-1700000000000000000" };
    expect(read(told, replay)?.message).toBeNull();
    expect(read(JSON.stringify(SENT), replay)?.message?.key).toBe("alice/1");
  });

  it("that is invalid still has a sequence", () => {
    expect(read("")).toEqual({ seq: 7, prev: 5, message: null, stale: false });
  });

  it("with an old id may be a repeat", () => {
    const old = "018bcfe5-6800-7000-8000-000000000000";
    const id = (timestamp: number) => JSON.stringify({ ...SENT, id: old, timestamp });
    const made = 0x018bcfe56800;
    expect(read(id(made + 1_000))?.stale).toBe(false);
    expect(read(id(made + 200_000))?.stale).toBe(true);
  });

  it("without a sequence is not of the log", () => {
    expect(read(JSON.stringify(SENT), { "Nats-Sequence": "" })).toBeNull();
  });
});

describe("a page of history", () => {
  it("is refused if it is invalid", () => {
    for (const payload of ["", "{}", "[1]", '[{"id":"1"}]', '{"code":500}']) {
      expect(() => readPage(payload), payload).toThrow();
    }
  });
});
