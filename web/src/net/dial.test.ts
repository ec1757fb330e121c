// @vitest-environment happy-dom
import { AuthorizationError, errors, wsconnect } from "@nats-io/nats-core";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { type Credentials, dial } from "./dial";

vi.mock("@nats-io/nats-core", async (actual) => ({
  ...(await actual<typeof import("@nats-io/nats-core")>()),
  wsconnect: vi.fn(),
}));

const PASSWORD: Credentials = { kind: "password", uid: "alice", password: "secret" };
const HOUR = 3_600_000;

const sockets: Socket[] = [];

class Socket extends EventTarget {
  constructor() {
    super();
    sockets.push(this);
  }
}

afterEach(() => {
  vi.useRealTimers();
});

beforeEach(() => {
  vi.mocked(wsconnect).mockReset();
  vi.stubGlobal("WebSocket", Socket);
  vi.useFakeTimers();
});

function token(expires: number): Credentials {
  return { kind: "token", uid: "o-1", token: "t", expires };
}

/** How an attempt fails when the server says this, so long after the socket has opened. */
async function said(error: Error, credentials: Credentials, after = 0) {
  vi.mocked(wsconnect).mockImplementation(async () => {
    sockets.at(-1)?.dispatchEvent(new Event("open"));
    vi.advanceTimersByTime(after);
    throw error;
  });
  const failed = await dial("ws://localhost:1", credentials).catch((why) => why);
  return { kind: failed.kind, said: failed.message };
}

it("logs in with a password or a token, with the inbox of that person", async () => {
  await dial("ws://localhost:1", PASSWORD);
  await dial("ws://localhost:1", token(Date.now()));
  const [first, second] = vi.mocked(wsconnect).mock.calls.map(([options]) => options);
  expect(first).toMatchObject({ user: "alice", pass: "secret", inboxPrefix: "_INBOX.u.alice" });
  expect(second).toMatchObject({ token: "t", inboxPrefix: "_INBOX.u.o-1" });
});

it("a refusal means the password, or the session, which had ended or not", async () => {
  const violation = new AuthorizationError("Authorization Violation");
  expect((await said(violation, PASSWORD)).kind).toBe("wrong-password");
  // The server's clock may be a little ahead.
  for (const expires of [Date.now() - HOUR, Date.now() + 30_000]) {
    expect(await said(violation, token(expires))).toMatchObject({
      kind: "session-ended",
      said: expect.stringMatching(/^Your session ended at/),
    });
  }
  const early = await said(violation, token(Date.now() + HOUR));
  expect(early).toMatchObject({
    kind: "session-ended",
    said: expect.stringMatching(/this machine's clock/),
  });
  const expired = new errors.UserAuthenticationExpiredError("User Authentication Expired");
  expect((await said(expired, token(Date.now()))).kind).toBe("session-ended");
});

it("a log-in that nobody checks is no wrong password", async () => {
  const late = new AuthorizationError("Authentication Timeout");
  // What nats-server 2.15 says, as late as this.
  const undecided = new AuthorizationError("Authorization Violation");
  for (const credentials of [PASSWORD, token(Date.now())]) {
    for (const failed of [
      await said(late, credentials),
      await said(undecided, credentials, 2_001),
    ]) {
      expect(failed).toEqual({
        kind: "sign-in-away",
        said: "The sign-in service is unavailable. Trying again.",
      });
    }
  }
  expect((await said(undecided, PASSWORD, 1_800)).kind).toBe("wrong-password");
});

it("a name that would be another's inbox is sent nowhere", async () => {
  for (const uid of ["", "*", ">", "a.b", "o-1 2", "x".repeat(63)]) {
    for (const credentials of [
      { ...PASSWORD, uid },
      { ...token(0), uid },
    ]) {
      await expect(dial("ws://localhost:1", credentials)).rejects.toThrow();
    }
  }
  expect(wsconnect).not.toHaveBeenCalled();
});
