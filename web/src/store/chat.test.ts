// @vitest-environment happy-dom
import "fake-indexeddb/auto";
import { beforeEach, expect, it, vi } from "vitest";
import type { Me } from "../model/me";
import type { Place } from "../model/place";
import type { Connection } from "../net/connection";
import { signInAway } from "../net/failure";
import { createChat } from "./chat";
import { connectAs } from "./sign-in/sign-in";
import { Session } from "./storage/session";

vi.mock("../net/config", () => ({
  loadConfig: async () => ({
    websocket: "ws://localhost:1",
    telemetry: null,
    login: { local: false, oidc: { issuer: "https://id.example", client: "chat-web", name: "Id" } },
  }),
}));
vi.mock("./sign-in/sign-in", () => ({ connectAs: vi.fn() }));

const GENERAL: Place = { realm: "chat", room: "general" };

beforeEach(() => sessionStorage.clear());

function person(uid: string): Me {
  return { uid, name: uid, mayWrite: true, isAdmin: false };
}

function connection(me: Me) {
  const never = () => new Promise<never>(() => {});
  const send = vi.fn<Connection["send"]>(never);
  const open: Connection = {
    me,
    ended: never(),
    join: never,
    history: never,
    send,
    session: never,
    probe: () => {},
    close: () => {},
  };
  return { open, send };
}

it("what one person left unsent is not sent by the next whom the provider names", async () => {
  new Session(sessionStorage).remember({ me: person("o-alice"), token: null });
  vi.mocked(connectAs).mockRejectedValue(signInAway());
  const chat = createChat();
  const shown = () => chat.getSnapshot().session;
  await vi.waitFor(() => expect(shown()).toMatchObject({ me: { uid: "o-alice" } }));
  expect(chat.send(GENERAL, "only alice may say this")).toBe(true);
  await vi.waitFor(() => expect(chat.getSnapshot().unsent.queued).toBe(1));

  const bob = connection(person("o-bob"));
  vi.mocked(connectAs).mockResolvedValue(bob.open);
  chat.reconnectNow();
  await vi.waitFor(() => expect(shown()).toMatchObject({ me: { uid: "o-bob" } }));

  // What bob writes comes after whatever else would be sent.
  expect(chat.send(GENERAL, "bob's own")).toBe(true);
  await vi.waitFor(() => expect(bob.send).toHaveBeenCalled());
  expect(bob.send.mock.calls.map(([, { text }]) => text)).toEqual(["bob's own"]);
  expect(chat.getSnapshot().unsent.queued).toBe(1);

  // It is alice's when she is back.
  const alice = connection(person("o-alice"));
  vi.mocked(connectAs).mockResolvedValue(alice.open);
  chat.logOut();
  new Session(sessionStorage).remember({ me: person("o-alice"), token: null });
  createChat();
  await vi.waitFor(() => expect(alice.send).toHaveBeenCalled());
  expect(alice.send.mock.calls[0]?.[1].text).toBe("only alice may say this");
});
