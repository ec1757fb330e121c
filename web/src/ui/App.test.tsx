// @vitest-environment happy-dom
import { cleanup, render, screen } from "@testing-library/react";
import { afterEach, expect, test, vi } from "vitest";
import type { ChatActions, ChatView, RoomEntry, RoomView } from "../store/view";
import { App } from "./App";

afterEach(() => {
  cleanup();
  vi.restoreAllMocks();
});

/** A guard against hanging: on a busy machine the first rendering takes seconds. */
const GUARD = { timeout: 60_000 };

const FAULT = new Error("unforeseen");

/** The view of a room; rendering a broken one throws. */
function viewOf(name: string, isBroken: boolean): ChatView {
  const place = { realm: "chat", room: name } as const;
  const counts = { unread: 0, unreadMore: false, queued: 0, failed: 0 };
  const entry: RoomEntry = { place, ...counts, isOpen: true, hasDraft: false, canLeave: false };
  const nothing = { gap: null, problem: null, dividerBefore: null, target: null, spot: null };
  const room: RoomView = {
    ...nothing,
    place,
    phase: "ready",
    entries: [],
    older: { state: "none" },
    unread: 0,
    mayWrite: true,
  };
  return {
    session: {
      state: "logged-in",
      me: { uid: "ada", name: "ada", mayWrite: true, isAdmin: false },
    },
    get link(): ChatView["link"] {
      if (isBroken) throw FAULT;
      return { state: "online" };
    },
    ways: { local: true, provider: undefined },
    rooms: [entry],
    room,
    outlives: true,
    unsent: { queued: 0, failed: 0, elsewhere: null },
  };
}

/** The page, with a function that opens another room. */
function show(first: ChatView): (next: ChatView) => void {
  let view = first;
  const listeners = new Set<() => void>();
  const chat = {
    getSnapshot: () => view,
    subscribe: (listener: () => void) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    draft: () => "",
    leaveAt: () => {},
    markRead: () => {},
    setAtEnd: () => {},
  } as unknown as ChatActions;
  render(<App chat={chat} />);
  return (next) => {
    view = next;
    for (const listener of listeners) listener();
  };
}

const failed = () => screen.queryByRole("heading", { name: "This part of the page failed" });

test("a room that fails to render says so, and leaves the rest of the page", () => {
  const log = vi.spyOn(console, "error").mockReturnValue();
  show(viewOf("broken", true));
  expect(failed()).toBeTruthy();
  expect(screen.getByRole("button", { name: "Reload the page" })).toBeTruthy();
  expect(screen.getByRole("link", { name: "broken" })).toBeTruthy();
  expect(log.mock.calls.flat()).toContain(FAULT);
});

test("after a room that failed to render, other rooms and that one are rendered again", async () => {
  vi.spyOn(console, "error").mockReturnValue();
  const open = show(viewOf("broken", true));
  open(viewOf("fine", false));
  expect(await screen.findByRole("textbox", { name: "Message" }, GUARD)).toBeTruthy();
  expect(failed()).toBeNull();
  open(viewOf("broken", true));
  await vi.waitFor(() => expect(failed()).toBeTruthy(), GUARD);
});

test("a list of rooms that fails to render leaves the open room", () => {
  vi.spyOn(console, "error").mockReturnValue();
  const view = viewOf("general", false);
  const [entry] = view.rooms;
  const broken = Object.defineProperty({ ...entry }, "hasDraft", {
    get: () => {
      throw FAULT;
    },
  }) as RoomEntry;
  show({ ...view, rooms: [broken] });
  expect(failed()).toBeTruthy();
  expect(screen.getByRole("textbox", { name: "Message" })).toBeTruthy();
});

test("a room that fails later looks like one that failed at first", async () => {
  vi.spyOn(console, "error").mockReturnValue();
  const open = show(viewOf("general", false));
  expect(failed()).toBeNull();
  open(viewOf("general", true));
  await vi.waitFor(() => expect(failed()).toBeTruthy(), GUARD);
});
