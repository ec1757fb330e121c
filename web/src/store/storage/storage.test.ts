import { expect, it } from "vitest";
import { Session } from "./session";
import { opened, outlives } from "./storage";
import { StoredValue } from "./stored-value";

/** What Chromium does with blocked cookies. */
const blocked = opened(() => {
  throw new DOMException("Access is denied for this document.", "SecurityError");
});

it("blocked storage is recognized", () => {
  expect(outlives(blocked)).toBe(false);
  const items = new Map<string, string>();
  const found = opened(() => ({
    getItem: (key) => items.get(key) ?? null,
    setItem: (key, value) => items.set(key, value),
    removeItem: (key) => items.delete(key),
  }));
  expect(outlives(found)).toBe(true);
});

it("with blocked storage this tab remembers a person's values", () => {
  const drafts = new StoredValue<Record<string, string>>(blocked, "drafts", "alice", {});
  drafts.change(() => ({ room: "text" }));
  expect(drafts.get()).toEqual({ room: "text" });
});

it("with blocked storage this tab remembers the login, and forgets it", () => {
  const session = new Session(blocked);
  const me = { uid: "alice", name: "alice", mayWrite: true, isAdmin: false };
  session.remember({ me, token: null });
  expect(session.remembered()?.me).toEqual(me);
  session.forget();
  expect(session.remembered()).toBeNull();
});
