// @vitest-environment happy-dom
import { expect, it } from "vitest";
import { Session } from "./session";

const REMEMBERED = {
  credentials: { user: "alice", password: "secret" },
  me: { uid: "alice", name: "Alice", mayWrite: true, isAdmin: false },
};

it("a person stays logged in after a reload, until they log out", () => {
  new Session(sessionStorage).remember(REMEMBERED);
  expect(new Session(sessionStorage).remembered()).toEqual(REMEMBERED);
  expect(localStorage.length).toBe(0);
  new Session(sessionStorage).forget();
  expect([new Session(sessionStorage).remembered(), sessionStorage.length]).toEqual([null, 0]);
});

it("an invalid stored session is ignored", () => {
  for (const nonsense of [
    "",
    "{",
    "{}",
    "[]",
    "7",
    '{"credentials":{}}',
    '{"credentials":{"password":"x"}}',
  ]) {
    sessionStorage.setItem("chat.session", nonsense);
    expect(new Session(sessionStorage).remembered(), nonsense).toBeNull();
  }
});
