// @vitest-environment happy-dom
import { cleanup, fireEvent, render, screen } from "@testing-library/react";
import { afterEach, expect, test, vi } from "vitest";
import type { ChatActions, SessionView } from "../store/view";
import { Login } from "./Login";

afterEach(cleanup);

const OUT: SessionView = { state: "logged-out", failure: null };
const PROVIDER = "Sign in with Keycloak";

function show(session: SessionView, local: boolean, provider: string | undefined) {
  const chat = { logIn: vi.fn(), logInAtProvider: vi.fn(), logOut: vi.fn() };
  if (session.state === "starting" || session.state === "logged-in") throw new Error("no log-in");
  const ways = { local, provider };
  render(<Login chat={chat as unknown as ChatActions} session={session} ways={ways} />);
  return chat;
}

test("a form for local users, a button for a provider, or both", () => {
  for (const [local, provider] of [
    [true, undefined],
    [false, "Keycloak"],
    [true, "Keycloak"],
  ] as const) {
    show(OUT, local, provider);
    expect(screen.queryByRole("button", { name: "Log in" }) !== null).toBe(local);
    expect(screen.queryByLabelText("Password") !== null).toBe(local);
    expect(screen.queryByRole("button", { name: PROVIDER }) !== null).toBe(provider !== undefined);
    cleanup();
  }
});

test("with no way in the page says so, and asks for no password", () => {
  show(OUT, false, undefined);
  expect(screen.getByRole("alert").textContent).toContain("Nobody can log in here");
  expect(screen.queryByLabelText("Password")).toBeNull();
});

test("the button leads to the provider", () => {
  const chat = show(OUT, true, "Keycloak");
  fireEvent.click(screen.getByRole("button", { name: PROVIDER }));
  expect([chat.logInAtProvider.mock.calls.length, chat.logIn.mock.calls.length]).toEqual([1, 0]);
});

test("a log-in that is tried again says why, and can be cancelled", () => {
  const chat = show(
    { state: "logging-in", way: "provider", problem: "The service is away." },
    true,
    "Keycloak",
  );
  expect(screen.getByRole("alert").textContent).toContain("The service is away.");
  expect(screen.getByRole<HTMLButtonElement>("button", { name: PROVIDER }).disabled).toBe(true);
  fireEvent.click(screen.getByRole("button", { name: "Cancel" }));
  expect(chat.logOut).toHaveBeenCalledOnce();
});
