// @vitest-environment happy-dom
import { beforeEach, expect, it, vi } from "vitest";
import type { Connection } from "../../net/connection";
import { Session } from "../storage/session";
import { LocalSignIn } from "./local";

const TOKEN = { token: "t", expires: 1 };
const ME = { uid: "alice", name: "Alice", mayWrite: true, isAdmin: false };

beforeEach(() => sessionStorage.clear());

function alice() {
  const held = { kind: "password", uid: "alice", password: "secret" } as const;
  return new LocalSignIn(held, new Session(sessionStorage));
}

function connection(session: Connection["session"]): Connection {
  return { me: ME, session } as Connection;
}

it("the password becomes a session token, and is in no storage", async () => {
  const signIn = alice();
  const session = vi.fn(async () => TOKEN);
  await signIn.up(connection(session));
  expect(await signIn.credentials()).toEqual({ kind: "token", uid: "alice", ...TOKEN });
  expect(new Session(sessionStorage).remembered()).toEqual({ me: ME, token: TOKEN });
  expect(JSON.stringify({ ...sessionStorage, ...localStorage })).not.toContain("secret");
  await signIn.up(connection(session));
  expect(session).toHaveBeenCalledOnce();
});

it("without a session token the password serves this page only, and is asked for again", async () => {
  const signIn = alice();
  await signIn.up(connection(() => Promise.reject(new Error("nobody answers"))));
  expect(await signIn.credentials()).toMatchObject({ kind: "password" });
  expect(sessionStorage.length).toBe(0);
  await signIn.up(connection(async () => TOKEN));
  expect(await signIn.credentials()).toMatchObject({ kind: "token" });
});

it("a token that comes after they logged out is not kept", async () => {
  const signIn = alice();
  const late = signIn.up(connection(async () => TOKEN));
  signIn.stop();
  await late;
  expect(sessionStorage.length).toBe(0);
});
