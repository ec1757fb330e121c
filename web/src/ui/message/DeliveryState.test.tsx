// @vitest-environment happy-dom
import { cleanup, fireEvent, render, screen } from "@testing-library/react";
import { afterEach, expect, test } from "vitest";
import type { Delivery, Entry } from "../../model/message";
import type { ChatActions } from "../../store/view";
import { DeliveryState } from "./DeliveryState";

afterEach(cleanup);

function show(delivery: Delivery, waiting = 1): string[] {
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
  render(<DeliveryState chat={chat} entry={entry} waiting={waiting} />);
  return asked;
}

test("a refused message gives its reason, Retry and Discard", () => {
  const asked = show({ state: "failed", reason: "The message is too large." });
  expect(screen.getByText(/The message is too large/)).toBeTruthy();
  fireEvent.click(screen.getByRole("button", { name: "Retry" }));
  fireEvent.click(screen.getByRole("button", { name: "Discard" }));
  expect(asked).toEqual(["retry id-1", "discard id-1"]);
});

test("a waiting message says for what and how long", () => {
  show({ state: "queued", problem: "Too many messages.", until: Date.now() + 4_500 });
  expect(screen.getByText(/Too many messages/)).toBeTruthy();
  expect(screen.getByText(/Next try in 5 s/)).toBeTruthy();
});

test("a waiting message can be discarded", () => {
  const asked = show({ state: "queued", problem: null, until: null });
  fireEvent.click(screen.getByRole("button", { name: "Discard" }));
  expect(asked).toEqual(["discard id-1"]);
});

test("one of several waiting messages speaks for all, without a Discard", () => {
  show({ state: "queued", problem: null, until: null }, 0);
  show({ state: "queued", problem: null, until: null }, 2);
  expect(screen.getAllByText("Waiting to be sent")).toHaveLength(1);
  expect(screen.queryByRole("button")).toBeNull();
});

test("a message that is retried shows the last problem", () => {
  show({ state: "sending", problem: "The chat had an error." });
  expect(document.body.textContent).toBe("The chat had an error. Trying again…");
});

test("a sent message shows no state", () => {
  show({ state: "sent" });
  expect(document.body.textContent).toBe("");
});
