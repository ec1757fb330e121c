import { describe, expect, it } from "vitest";
import cases from "../../../functions/tests/cases/message.json";
import { isToken } from "../model/place";
import { toText } from "../model/text";
import { isVisible } from "../model/visible";
import { readLive } from "./payload";
import { readMe } from "./permissions";

// The functions' tests check the same cases: the page and the service must agree.

const GENERAL = { realm: "chat", room: "general" } as const;

interface Entry {
  why: string;
  payload?: string;
  hex?: string;
  nested?: number;
  message_id?: string;
  stored: object | null;
  live?: string;
}

function bytes({ payload = "", hex, nested }: Entry): Uint8Array {
  if (hex) return Uint8Array.from(hex.match(/../g) ?? [], (byte) => Number.parseInt(byte, 16));
  const tail = nested ? `${"[".repeat(nested)}${"]".repeat(nested)}}` : "";
  return new TextEncoder().encode(payload + tail);
}

/** The message that the page shows at once of what the log holds at sequence 7; null for none. */
function live(payload: Uint8Array, messageId?: string) {
  const headers = new Map([
    ["Nats-Sequence", "7"],
    ["Nats-Last-Sequence", "5"],
    ["Nats-Time-Stamp", cases.log.time],
  ]);
  if (messageId) headers.set("Nats-Msg-Id", messageId);
  const message = readLive(GENERAL, payload, (name) => headers.get(name))?.message;
  if (!message) return null;
  const { uid, id, name: user, text, timestamp } = message;
  return { uid, id, user, text, timestamp };
}

function liveJson(message: object) {
  return live(new TextEncoder().encode(JSON.stringify(message)));
}

it("each character is hidden or seen", () => {
  const ranges = cases.hidden.split(" ").map((range) => {
    const [first = 0, last = first] = range.split("-").map((hex) => Number.parseInt(hex, 16));
    return { first, last };
  });
  const wrong: string[] = [];
  for (let code = 0; code <= 0x10ffff; code += 1) {
    if (code >= 0xd800 && code <= 0xdfff) continue;
    const isHidden = ranges.some(({ first, last }) => code >= first && code <= last);
    if (isVisible(String.fromCodePoint(code)) === isHidden) wrong.push(code.toString(16));
  }
  expect(wrong).toEqual([]);
});

describe("a token", () => {
  it.each(cases.tokens)("$why", ({ token, times = 1, valid }) => {
    expect(isToken(token.repeat(times))).toBe(valid);
  });
});

describe("a text", () => {
  it.each(cases.texts)("$why", ({ text, times = 1, logged, sent }) => {
    const whole = text.repeat(times);
    expect(toText(whole)).toBe(sent === undefined ? whole : sent);
    const message = liveJson({ user: "b", text: whole, timestamp: 1 });
    expect(message?.text ?? null).toBe(logged ? whole : null);
  });
});

describe("an id of a stored message", () => {
  it.each(cases.ids)("$why", ({ id, times = 1, valid }) => {
    const whole = id.repeat(times);
    const message = liveJson({ user: "b", text: "x", timestamp: 1, uid: "b", id: whole });
    expect(message?.id ?? null).toBe(valid ? whole : null);
  });
});

describe("a user", () => {
  it.each(cases.users)("$why", ({ user, then = "", times = 0, uid, name, name_times = 1 }) => {
    const me = readMe({ user: user + then.repeat(times) });
    expect(me && { uid: me.uid, name: me.name }).toEqual(
      uid === null ? null : { uid, name: name?.repeat(name_times) },
    );
  });
});

describe("a message of the log", () => {
  it.each(cases.log.messages as Entry[])("$why", (entry) => {
    const expected = entry.live === "history" ? null : entry.stored;
    expect(live(bytes(entry), entry.message_id)).toEqual(expected);
  });
});
