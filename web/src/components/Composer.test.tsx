// @vitest-environment happy-dom
import { act, cleanup, fireEvent, render, screen } from "@testing-library/react";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Place } from "../place";
import type { ChatActions } from "../view";
import { Composer } from "./Composer";

const GENERAL = { realm: "chat", room: "general" } as const;

/** What the store has as the room's draft. */
let kept: string;
let tell: () => void;
let sent: string[];
let takes: boolean;

beforeEach(() => {
  kept = "";
  tell = () => {};
  sent = [];
  takes = true;
});
afterEach(cleanup);

function show(draft = "", place: Place = GENERAL): HTMLTextAreaElement {
  kept = draft;
  const chat = {
    subscribe: (listener: () => void) => {
      tell = listener;
      return () => {};
    },
    draft: () => kept,
    setDraft: (_place: unknown, text: string) => {
      kept = text;
    },
    send: (into: Place, text: string) => {
      // What one reads above the field is where it goes, whatever is open meanwhile.
      expect(into).toBe(place);
      sent.push(text);
      return takes;
    },
  } as unknown as ChatActions;
  render(<Composer chat={chat} place={place} onSent={vi.fn()} ref={null} />);
  return screen.getByRole("textbox", { name: "Message" });
}

const type = (field: HTMLElement, value: string) => fireEvent.change(field, { target: { value } });
const button = () => screen.getByRole<HTMLButtonElement>("button", { name: "Send" });

test("Enter sends and empties the field; Shift+Enter does neither", () => {
  const field = show();
  type(field, "hello");
  fireEvent.keyDown(field, { key: "Enter", shiftKey: true });
  expect(sent).toEqual([]);
  fireEvent.keyDown(field, { key: "Enter" });
  expect(sent).toEqual(["hello"]);
  expect(field.value).toBe("");
});

test("what was sent stays the draft until the store has it, and is not shown again then", () => {
  const field = show();
  type(field, "hello");
  fireEvent.keyDown(field, { key: "Enter" });
  expect(kept).toBe("hello");
  act(tell);
  expect(field.value).toBe("");
  kept = "";
  act(tell);
  expect(field.value).toBe("");
});

test("what the same person writes in another tab stands here too, and is not taken away", () => {
  const field = show("a draft");
  kept = "a draft that grows";
  act(tell);
  expect(field.value).toBe("a draft that grows");
  type(field, "and goes on here");
  act(tell);
  expect([field.value, kept]).toEqual(["and goes on here", "and goes on here"]);
});

test("Enter that chooses a word of an input method does not send", () => {
  const field = show();
  type(field, "こんにちは");
  fireEvent.keyDown(field, { key: "Enter", isComposing: true });
  expect(sent).toEqual([]);
});

test("nothing is sent that is blank", () => {
  const field = show();
  type(field, " \n ");
  fireEvent.keyDown(field, { key: "Enter" });
  expect(sent).toEqual([]);
  expect(button().disabled).toBe(true);
});

test("the limit counts characters, and says how many are too many", () => {
  const field = show();
  type(field, "😀".repeat(4000));
  expect(screen.getByText("0 characters left")).toBeTruthy();
  expect(button().disabled).toBe(false);
  type(field, "😀".repeat(4001));
  expect(screen.getByText("1 character too many")).toBeTruthy();
  type(field, "😀".repeat(4002));
  expect(screen.getByText("2 characters too many")).toBeTruthy();
  expect(button().disabled).toBe(true);
});

test("a text that was not taken stays in the field", () => {
  const field = show();
  takes = false;
  type(field, "keep me");
  fireEvent.keyDown(field, { key: "Enter" });
  expect(field.value).toBe("keep me");
});

test("the field begins with the room's draft and keeps what is typed as such", () => {
  const field = show("half a thought");
  expect(field.value).toBe("half a thought");
  type(field, "half a thought, and the rest");
  expect(kept).toBe("half a thought, and the rest");
});

test("a long room name does not fill the field before one writes", () => {
  const room = "a-very-long-room-name-that-goes-on-and-on";
  expect(show("", { realm: "chat", room }).placeholder).toBe("Message a-very-long-room-na…");
});
