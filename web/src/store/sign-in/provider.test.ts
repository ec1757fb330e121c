// @vitest-environment happy-dom
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { NoConnection, signInAway } from "../../net/failure";
import type { Issuer, Tokens } from "../../net/sign-in/tokens";
import { Session } from "../storage/session";
import { type Answer, ProviderSignIn, takeAnswer } from "./provider";

const PENDING = { state: "s", nonce: "n", verifier: "v" };
const ANSWER = { url: new URL("https://chat.example/?code=c&state=s"), pending: PENDING };
const FORM = new URL("https://id.example/form");
const ENDED = new NoConnection("session-ended", "Sign in again.");
const LIFE = 900_000;

let issued = 0;

/** The next tokens, which live 15 minutes. */
async function next(): Promise<Tokens> {
  issued += 1;
  return { uid: "o-1", token: `t${issued}`, expires: Date.now() + LIFE, refresh: "r", id: "i" };
}

function person(mayAsk: boolean, answer: Answer | null = null) {
  const issuer = {
    begin: vi.fn<Issuer["begin"]>(async () => ({ to: FORM, pending: PENDING })),
    finish: vi.fn<Issuer["finish"]>(next),
    renew: vi.fn<Issuer["renew"]>(next),
    end: vi.fn<Issuer["end"]>(async () => FORM),
  };
  const go = vi.fn();
  const stored = new Session(sessionStorage);
  const signIn = new ProviderSignIn(async () => issuer, stored, go, mayAsk, answer);
  return { issuer, go, signIn };
}

/** How it fails, once time has passed. */
async function failure(signIn: ProviderSignIn, ms: number) {
  const failed = signIn.credentials().catch(({ kind }) => kind);
  await vi.advanceTimersByTimeAsync(ms);
  return failed;
}

const token = async (signIn: ProviderSignIn) => {
  const held = await signIn.credentials();
  return held.kind === "token" && held.token;
};

beforeEach(() => {
  issued = 0;
  sessionStorage.clear();
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

it("sends the browser to the provider, and takes its answer once, out of the address", async () => {
  location.hash = "#/chat/general";
  const { issuer, go, signIn } = person(true);
  void failure(signIn, 0);
  await vi.advanceTimersByTimeAsync(0);
  expect([issuer.begin.mock.calls, go.mock.calls]).toEqual([[[false]], [[FORM]]]);

  history.replaceState(null, "", "/?code=c&state=s");
  const stored = new Session(sessionStorage);
  expect(takeAnswer(stored)).toMatchObject({
    pending: PENDING,
    url: { search: "?code=c&state=s" },
  });
  expect(location.href).toMatch(/\/#\/chat\/general$/);
  expect([takeAnswer(stored), sessionStorage.length]).toEqual([null, 0]);
});

it("an answer that this tab did not ask for is none", () => {
  history.replaceState(null, "", "/?code=c&state=s");
  expect([takeAnswer(new Session(sessionStorage)), location.search]).toEqual([null, ""]);
});

it("an address that looks like another site's stays this page's", () => {
  history.replaceState(null, "", `${location.origin}//x?code=c&state=s`);
  const stored = new Session(sessionStorage);
  stored.leave({ ...PENDING, hash: "#/chat/general" });
  expect(takeAnswer(stored)).toMatchObject({ pending: PENDING });
  expect(location.href).toBe(`${location.origin}//x#/chat/general`);
  history.replaceState(null, "", "/");
});

it("a token that lives for months is not renewed all the time", async () => {
  const { issuer, signIn } = person(false, ANSWER);
  issuer.finish.mockResolvedValue({ ...(await next()), expires: Date.now() + 2 ** 33 });
  await token(signIn);
  await vi.advanceTimersByTimeAsync(LIFE);
  expect(issuer.renew).not.toHaveBeenCalled();
  signIn.stop();
});

it("renews its token a minute before the end, and again, without being asked", async () => {
  const { issuer, signIn } = person(false, ANSWER);
  expect(await token(signIn)).toBe("t1");
  await vi.advanceTimersByTimeAsync(LIFE - 61_000);
  expect([await token(signIn), issuer.renew.mock.calls.length]).toEqual(["t1", 0]);
  await vi.advanceTimersByTimeAsync(2_000);
  expect(await token(signIn)).toBe("t2");
  await vi.advanceTimersByTimeAsync(LIFE);
  expect([await token(signIn), issuer.begin.mock.calls]).toEqual(["t3", []]);
  signIn.stop();
  await vi.advanceTimersByTimeAsync(3 * LIFE);
  expect(issuer.renew).toHaveBeenCalledTimes(2);
});

it("goes on with its token while the provider is away, then waits for it", async () => {
  const { issuer, signIn } = person(false, ANSWER);
  await signIn.credentials();
  issuer.renew.mockRejectedValue(signInAway());
  await vi.advanceTimersByTimeAsync(LIFE - 1_000);
  expect([await token(signIn), issuer.renew.mock.calls.length > 10]).toEqual(["t1", true]);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(await failure(signIn, 0)).toBe("sign-in-away");
  issuer.renew.mockImplementation(next);
  expect(await token(signIn)).toBe("t2");
});

it("says within 3 s that the provider is slow, and takes what comes late", async () => {
  const { issuer, signIn } = person(false, ANSWER);
  let answer = () => {};
  issuer.finish.mockReturnValue(
    new Promise((resolve) => {
      answer = () => resolve(next());
    }),
  );
  expect(await failure(signIn, 3_000)).toBe("sign-in-away");
  expect(await failure(signIn, 3_000)).toBe("sign-in-away");
  answer();
  expect([await token(signIn), issuer.finish.mock.calls.length]).toEqual(["t1", 1]);
});

it("after a code that led to nothing the provider is asked again, but the person is not", async () => {
  const { issuer, go, signIn } = person(false, ANSWER);
  issuer.finish.mockRejectedValue(signInAway());
  expect(await failure(signIn, 0)).toBe("sign-in-away");
  await failure(signIn, 3_000);
  expect([issuer.begin.mock.calls, go.mock.calls]).toEqual([[[true]], [[FORM]]]);
});

it("a session that the provider has ended is over", async () => {
  const { issuer, signIn } = person(false, ANSWER);
  await signIn.credentials();
  issuer.renew.mockRejectedValue(ENDED);
  await vi.advanceTimersByTimeAsync(LIFE);
  expect(issuer.renew).toHaveBeenCalledOnce();
  expect(await failure(signIn, 0)).toBe("session-ended");
});

it("a token that the server refuses is renewed, but not one that has just come", async () => {
  const { signIn } = person(false, ANSWER);
  await signIn.credentials();
  expect(signIn.renew()).toBe(false);
  await vi.advanceTimersByTimeAsync(10_000);
  expect([signIn.renew(), await token(signIn), signIn.renew()]).toEqual([true, "t2", false]);
});

it("logging out ends the session of the provider too", async () => {
  const { issuer, go, signIn } = person(false, ANSWER);
  await signIn.credentials();
  signIn.stop();
  void signIn.end().catch(() => {});
  await vi.advanceTimersByTimeAsync(0);
  expect([issuer.end.mock.calls[0]?.[0]?.id, go.mock.calls]).toEqual(["i", [[FORM]]]);
});
