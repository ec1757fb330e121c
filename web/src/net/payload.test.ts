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
  return readLive(GENERAL, payload, (name) => all[name]);
}

describe("a live message", () => {
  it("of send is known for what it is", () => {
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

  it("that the service may not store is left to history", () => {
    const json = JSON.stringify(SENT);
    for (const payload of [
      "",
      "[]",
      "null",
      '{"a":',
      ` ${json}`,
      json.replace('"id":"1"', '"id":"2","id":"1"'),
      json.replace(String(TIME), `${TIME}.0`),
      json.replace("hello", "\\ud800"),
      json.replace("hello", "\\u0000"),
      JSON.stringify({ ...SENT, room: "other" }),
      JSON.stringify({ ...SENT, text: "" }),
      JSON.stringify({ ...SENT, text: "😀".repeat(4_001) }),
      JSON.stringify({ ...SENT, timestamp: TIME + 86_400_001 }),
      JSON.stringify({ ...SENT, timestamp: -1 }),
      JSON.stringify({ ...SENT, uid: "a.b" }),
      JSON.stringify({ ...SENT, id: "x".repeat(257) }),
    ]) {
      expect(read(payload), payload).toEqual({ seq: 7, prev: 5, message: null, stale: false });
    }
  });

  it("with an id of long ago may be a repeat", () => {
    const old = "018bcfe5-6800-7000-8000-000000000000";
    const id = (timestamp: number) => JSON.stringify({ ...SENT, id: old, timestamp });
    const made = 0x018bcfe56800;
    expect(read(id(made + 1_000))?.stale).toBe(false);
    expect(read(id(made + 200_000))?.stale).toBe(true);
  });

  it("without a sequence is none of the log", () => {
    expect(read(JSON.stringify(SENT), { "Nats-Sequence": "" })).toBeNull();
  });
});

describe("a page of history", () => {
  it("is refused where it is none", () => {
    for (const payload of ["", "{}", "[1]", '[{"id":"1"}]', '{"code":500}']) {
      expect(() => readPage(payload), payload).toThrow();
    }
  });
});
