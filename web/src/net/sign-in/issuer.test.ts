import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { OidcIssuer } from "./issuer";
import type { Tokens } from "./tokens";

const ISSUER = "https://id.example/realms/chat";
const PAGE = "https://chat.example/";
const DISCOVERED = {
  issuer: ISSUER,
  authorization_endpoint: `${ISSUER}/auth`,
  token_endpoint: `${ISSUER}/token`,
  end_session_endpoint: `${ISSUER}/logout`,
  code_challenge_methods_supported: ["S256"],
};
const HELD: Tokens = { uid: "o-1", token: "t", expires: 0, refresh: "r0", id: "i0" };

/** What the token endpoint answers. */
let answer: () => Response;
const asked: URLSearchParams[] = [];
let isAway = false;
/** What the provider's configuration says besides. */
let more: object = {};

beforeEach(() => {
  asked.length = 0;
  isAway = false;
  more = {};
  vi.stubGlobal("fetch", async (url: string | URL, init: RequestInit) => {
    if (isAway) throw new TypeError("Failed to fetch");
    if (String(url).endsWith("/.well-known/openid-configuration"))
      return json({ ...DISCOVERED, ...more });
    asked.push(new URLSearchParams(String(init.body)));
    return answer();
  });
});

afterEach(() => vi.unstubAllGlobals());

function json(body: object, status = 200): Response {
  return new Response(JSON.stringify(body), {
    status,
    headers: { "content-type": "application/json" },
  });
}

const issuer = () => new OidcIssuer({ issuer: ISSUER, client: "chat-web", name: "Id" }, PAGE);

/** An ID token. The page gets it from the provider itself, by TLS, and does not check who signed it. */
function idToken(claims: object): string {
  const now = Math.floor(Date.now() / 1000);
  const whole = { iss: ISSUER, aud: "chat-web", sub: "1", iat: now, exp: now + 60, ...claims };
  const parts = [{ alg: "RS256" }, whole].map((part) => btoa(JSON.stringify(part)));
  return `${parts.join(".")}.c2ln`.replaceAll("=", "").replaceAll("+", "-").replaceAll("/", "_");
}

function granted(claims: object, more: object = {}): Response {
  const tokens = { access_token: "t1", refresh_token: "r1", id_token: idToken(claims) };
  return json({ ...tokens, token_type: "Bearer", expires_in: 900, ...more });
}

/** Signs in; the provider sends the browser back with this. */
async function signIn(query: (state: string) => string) {
  const { pending } = await issuer().begin(false);
  return { pending, end: () => issuer().finish(new URL(PAGE + query(pending.state)), pending) };
}

const code = (state: string) => `?code=c&state=${state}`;

it("asks for a code with PKCE, state and nonce, anew each time", async () => {
  const [first, second] = [await issuer().begin(false), await issuer().begin(true)];
  const query = Object.fromEntries(first.to.searchParams);
  expect(first.to.href).toMatch(`${ISSUER}/auth?`);
  expect(query).toMatchObject({
    response_type: "code",
    client_id: "chat-web",
    redirect_uri: PAGE,
    scope: "openid profile",
    code_challenge_method: "S256",
    state: first.pending.state,
    nonce: first.pending.nonce,
  });
  expect(query["code_challenge"]).not.toBe(first.pending.verifier);
  expect([query["prompt"], second.to.searchParams.get("prompt")]).toEqual([undefined, "none"]);
  const secrets = [first, second].flatMap(({ pending }) => Object.values(pending));
  expect(new Set(secrets).size).toBe(6);
});

it("exchanges the code, and knows the person by their id there", async () => {
  const { pending, end } = await signIn(code);
  answer = () => granted({ nonce: pending.nonce, sub: "a.b" });
  const began = Date.now();
  const tokens = await end();
  expect(tokens).toMatchObject({
    token: "t1",
    refresh: "r1",
    uid: expect.stringMatching(/^o--.{43}$/),
  });
  expect(tokens.expires).toBeGreaterThanOrEqual(began + 900_000);
  expect(Object.fromEntries(asked[0] ?? [])).toMatchObject({
    grant_type: "authorization_code",
    code: "c",
    code_verifier: pending.verifier,
    redirect_uri: PAGE,
  });
});

it("renews, and keeps what the provider does not give again", async () => {
  answer = () => json({ access_token: "t2", token_type: "Bearer" });
  expect(await issuer().renew(HELD)).toMatchObject({
    token: "t2",
    uid: "o-1",
    refresh: "r0",
    id: "i0",
  });
  expect(asked[0]?.get("refresh_token")).toBe("r0");
});

it("signs out at the provider, which sends the browser back", async () => {
  const to = await issuer().end(HELD);
  expect(Object.fromEntries(to?.searchParams ?? [])).toEqual({
    client_id: "chat-web",
    post_logout_redirect_uri: PAGE,
    id_token_hint: "i0",
  });
});

it("accepts no answer that was not for this page, and no token that was not for it", async () => {
  for (const query of [() => "?code=c&state=other", () => "?code=c", () => "?state=s"]) {
    await expect((await signIn(query)).end()).rejects.toMatchObject({ kind: "refused" });
  }
  expect(asked).toEqual([]);
  for (const claims of [
    { nonce: "other" },
    { nonce: undefined },
    { aud: "other" },
    { iss: "https://other.example" },
    { exp: Math.floor(Date.now() / 1000) - 120 },
  ]) {
    const { pending, end } = await signIn(code);
    answer = () => granted({ nonce: pending.nonce, ...claims });
    await expect(end(), JSON.stringify(claims)).rejects.toMatchObject({ kind: "refused" });
  }
  const late = await signIn(code);
  answer = () => granted({ nonce: late.pending.nonce, exp: 1 });
  await expect(late.end()).rejects.toThrow("The clock of this machine and that of Id differ");

  const { end } = await signIn(code);
  answer = () => granted({}, { id_token: undefined });
  await expect(end()).rejects.toMatchObject({ kind: "refused" });
});

it("sends the browser to no script, to no plain HTTP, and to nowhere", async () => {
  for (const to of ["javascript:alert(1)", "data:text/html,x", "http://id.example/x", "/x", ""]) {
    more = { authorization_endpoint: to, end_session_endpoint: to };
    const refused = { kind: "refused", message: expect.stringContaining("configuration of Id") };
    await expect(issuer().begin(false), to).rejects.toMatchObject(refused);
    if (to) await expect(issuer().end(HELD), to).rejects.toMatchObject(refused);
  }
  more = { authorization_endpoint: undefined, end_session_endpoint: undefined };
  await expect(issuer().begin(false)).rejects.toMatchObject({ kind: "refused" });
  expect(await issuer().end(HELD)).toBeNull();
});

it("says whether to sign in again, to wait, or what is configured wrongly", async () => {
  const denied = (error: string) => (state: string) => `?error=${error}&state=${state}`;
  for (const [error, kind] of [
    ["login_required", "session-ended"],
    ["temporarily_unavailable", "sign-in-away"],
    ["access_denied", "refused"],
  ] as const) {
    await expect((await signIn(denied(error))).end(), error).rejects.toMatchObject({ kind });
  }
  for (const [said, kind] of [
    [json({ error: "invalid_grant" }, 400), "session-ended"],
    [json({ error: "invalid_client", error_description: "No such client" }, 401), "refused"],
    [json({ error: "server_error" }, 500), "sign-in-away"],
    [new Response("Bad gateway", { status: 502 }), "sign-in-away"],
    [new Response("Slow down", { status: 429 }), "sign-in-away"],
    [new Response("<html>", { status: 200 }), "refused"],
  ] as const) {
    answer = () => said.clone();
    await expect(issuer().renew(HELD), `${said.status}`).rejects.toMatchObject({ kind });
  }
  isAway = true;
  await expect(issuer().begin(false)).rejects.toMatchObject({ kind: "sign-in-away" });
});
