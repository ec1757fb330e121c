// @vitest-environment happy-dom
import { beforeEach, expect, it } from "vitest";
import { Session } from "./session";

const ALICE = { uid: "alice", name: "Alice", mayWrite: true, isAdmin: false };
const LOCAL = { me: ALICE, token: { token: "t", expires: 1 } };
const AWAY = { state: "s", nonce: "n", verifier: "v", hash: "#/chat/general" };

beforeEach(() => sessionStorage.clear());

it("a person stays logged in after a reload, until they log out", () => {
  for (const person of [LOCAL, { me: ALICE, token: null }]) {
    new Session(sessionStorage).remember(person);
    expect(new Session(sessionStorage).remembered()).toEqual(person);
    expect(localStorage.length).toBe(0);
    new Session(sessionStorage).forget();
    expect([new Session(sessionStorage).remembered(), sessionStorage.length]).toEqual([null, 0]);
  }
});

it("what a provider's answer is checked against is read once", () => {
  new Session(sessionStorage).leave(AWAY);
  const session = new Session(sessionStorage);
  expect([session.back(), session.back(), sessionStorage.length]).toEqual([AWAY, null, 0]);
});

it("an invalid stored session is ignored", () => {
  for (const nonsense of [
    "",
    "{",
    "{}",
    "[]",
    "7",
    '{"me":null,"token":null}',
    '{"me":{"uid":""},"token":null}',
    '{"me":{"uid":"alice"}}',
    '{"me":{"uid":"alice"},"token":{}}',
    '{"me":{"uid":"alice"},"credentials":{"user":"alice","password":"x"}}',
  ]) {
    sessionStorage.setItem("chat.session", nonsense);
    sessionStorage.setItem("chat.sign-in", nonsense);
    const session = new Session(sessionStorage);
    expect([session.remembered(), session.back()], nonsense).toEqual([null, null]);
  }
});
