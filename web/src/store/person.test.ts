// @vitest-environment happy-dom
import { beforeEach, expect, it, vi } from "vitest";
import type { Place } from "../model/place";
import { UNTRACED } from "../net/trace/tracing";
import type { Item, OutboxStore } from "./outbox/outbox-store";
import { Person } from "./person";

const GENERAL: Place = { realm: "chat", room: "general" };
const ALICE = { uid: "alice", name: "alice", mayWrite: true, isAdmin: false };

beforeEach(() => localStorage.clear());

function alice(put: OutboxStore["put"], kept: Item[] = []): Person {
  const store: OutboxStore = {
    outlives: true,
    put,
    all: async () => kept,
    change: async () => {},
    remove: async () => {},
  };
  return new Person(ALICE, store, UNTRACED, () => {});
}

/** With a store that has a message only once `written` is called. */
function slow(): { person: Person; written: () => void } {
  let written = () => {};
  const done = new Promise<void>((resolve) => {
    written = resolve;
  });
  return { person: alice(() => done), written };
}

it("the draft is kept until the message is stored, so that a reload loses neither", async () => {
  const { person, written } = slow();
  person.setDraft(GENERAL, " hello\n");
  expect(person.send(GENERAL, " hello\n")).toBe(true);
  expect(alice(async () => {}).draft(GENERAL)).toBe(" hello\n");
  written();
  await vi.waitFor(() => expect(person.draft(GENERAL)).toBe(""));
});

it("a draft whose message was stored just before a reload is gone after it", async () => {
  alice(async () => {}).setDraft(GENERAL, "hello");
  const item = { uid: "alice", id: "1", place: GENERAL, text: "hello", created: 1, refused: null };
  const person = alice(async () => {}, [item]);
  await vi.waitFor(() => expect(person.draft(GENERAL)).toBe(""));
});

it("a draft that is begun while a message is stored stays", async () => {
  const { person, written } = slow();
  person.setDraft(GENERAL, "hello");
  person.send(GENERAL, "hello");
  person.setDraft(GENERAL, "and");
  written();
  // One turn of the event loop: the effects of the store's answer have happened.
  await new Promise((turn) => setTimeout(turn));
  expect(person.draft(GENERAL)).toBe("and");
});

it("a message that the browser cannot store stays the draft", async () => {
  const person = alice(() => Promise.reject(new DOMException("full", "QuotaExceededError")));
  person.setDraft(GENERAL, "hello");
  person.send(GENERAL, "hello");
  await vi.waitFor(() => expect(person.view(false).unsent.failed).toBe(1));
  expect(person.draft(GENERAL)).toBe("hello");
});
