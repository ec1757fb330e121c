// @vitest-environment happy-dom
import { cleanup, fireEvent, render, screen } from "@testing-library/react";
import { afterEach, expect, test } from "vitest";
import type { ChatActions, Delivery, Entry } from "../view";
import { DeliveryState } from "./DeliveryState";

afterEach(cleanup);

function show(delivery: Delivery): string[] {
  const asked: string[] = [];
  const chat = {
    retry: (id: string) => asked.push(`retry ${id}`),
    discard: (id: string) => asked.push(`discard ${id}`),
  } as unknown as ChatActions;
  const entry: Entry = {
    key: "k",
    id: "id-1",
    uid: "ada",
    name: "ada",
    text: "hello",
    timestamp: 0,
    at: null,
    delivery,
  };
  render(<DeliveryState chat={chat} entry={entry} />);
  return asked;
}

test("a refused message gives its reason, Retry and Discard", () => {
  const asked = show({ state: "failed", reason: "The message is too large." });
  expect(screen.getByText(/The message is too large/)).toBeTruthy();
  fireEvent.click(screen.getByRole("button", { name: "Retry" }));
  fireEvent.click(screen.getByRole("button", { name: "Discard" }));
  expect(asked).toEqual(["retry id-1", "discard id-1"]);
});

test("a message that waits says for what and how long", () => {
  show({ state: "queued", problem: "Too many messages.", until: Date.now() + 4_500 });
  expect(screen.getByText(/Too many messages/)).toBeTruthy();
  expect(screen.getByText(/next try in 5 s/)).toBeTruthy();
});

test("a message that waits can be taken back", () => {
  const asked = show({ state: "queued", problem: null, until: null });
  fireEvent.click(screen.getByRole("button", { name: "Discard" }));
  expect(asked).toEqual(["discard id-1"]);
});

test("a message that arrived has nothing to say", () => {
  show({ state: "sent" });
  expect(document.body.textContent).toBe("");
});
