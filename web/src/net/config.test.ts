import { afterEach, expect, it, vi } from "vitest";
import { loadConfig } from "./config";

afterEach(() => vi.unstubAllGlobals());

async function login(login: object | undefined) {
  vi.stubGlobal("fetch", async () => Response.json({ websocket: "ws://localhost:1", login }));
  return (await loadConfig()).login;
}

it("only the configured ways to log in are there", async () => {
  const oidc = { issuer: "https://id.example", client: "chat-web", name: "Id" };
  for (const configured of [
    { local: true, oidc: null },
    { local: false, oidc },
    { local: true, oidc },
    { local: false, oidc: null },
  ]) {
    expect(await login(configured)).toEqual(configured);
  }
  expect(await login(undefined)).toEqual({ local: false, oidc: null });
});
