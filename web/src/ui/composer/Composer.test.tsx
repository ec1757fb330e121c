// @vitest-environment happy-dom
import { act, cleanup, fireEvent, render, screen } from "@testing-library/react";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Place } from "../../model/place";
import type { ChatActions } from "../../store/view";
import { Composer } from "./Composer";

const GENERAL = { realm: "chat", room: "general" } as const;

/** The room's draft in the store. */
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
afterEach(() => {
  cleanup();
  vi.restoreAllMocks();
});

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
      // Sent to the rendered room, even if another one is open by now.
      expect(into).toBe(place);
      sent.push(text);
      return takes;
    },
  } as unknown as ChatActions;
  render(<Composer chat={chat} place={place} onSent={vi.fn()} onChanged={vi.fn()} ref={null} />);
  return screen.getByRole("textbox", { name: "Message" });
}

const type = (field: HTMLElement, value: string) => fireEvent.change(field, { target: { value } });
/** A device with a touch screen. */
function onPhone(): void {
  vi.spyOn(window, "matchMedia").mockImplementation((query) =>
    Object.assign(new EventTarget() as MediaQueryList, { matches: /coarse/.test(query) }),
  );
}

const hint = () => document.querySelector(".composer-hint")?.textContent;
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

test("the text stays the draft until the message is stored, but is not shown again", () => {
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

test("a draft from another tab shows here, and is not overwritten", () => {
  const field = show("a draft");
  kept = "a draft that grows";
  act(tell);
  expect(field.value).toBe("a draft that grows");
  type(field, "and goes on here");
  act(tell);
  expect([field.value, kept]).toEqual(["and goes on here", "and goes on here"]);
});

test("Enter that chooses a word in an input method does not send", () => {
  const field = show();
  type(field, "こんにちは");
  fireEvent.keyDown(field, { key: "Enter", isComposing: true });
  expect(sent).toEqual([]);
});

test("nor does Enter that ends a composition, which WebKit shows only by the key code", () => {
  const field = show();
  type(field, "こんにちは");
  fireEvent.keyDown(field, { key: "Enter", keyCode: 229 });
  expect(sent).toEqual([]);
  fireEvent.keyDown(field, { key: "Enter", keyCode: 13 });
  expect(sent).toEqual(["こんにちは"]);
});

test("on a phone Enter makes a new line, and the button sends", () => {
  onPhone();
  const field = show();
  type(field, "hello");
  expect(field.getAttribute("enterkeyhint")).toBe("enter");
  // Without `preventDefault` the browser inserts the line.
  expect(fireEvent.keyDown(field, { key: "Enter" })).toBe(true);
  expect(sent).toEqual([]);
  expect(hint()).toBe("Enter for a new line, Ctrl+Enter to send");
  fireEvent.click(button());
  expect(sent).toEqual(["hello"]);
});

test("a tap on the button leaves the focus where it is, whether in the field or not", () => {
  onPhone();
  const field = show();
  type(field, "hello");
  expect(fireEvent.mouseDown(button())).toBe(false);
  fireEvent.click(button());
  expect(document.activeElement).not.toBe(field);
});

test("elsewhere the keyboard hint and the line below say that Enter sends", () => {
  expect(show().getAttribute("enterkeyhint")).toBe("send");
  expect(hint()).toBe("Enter to send, Shift+Enter for a new line");
});

for (const modifier of [{ ctrlKey: true }, { metaKey: true }]) {
  test(`with ${Object.keys(modifier)} Enter sends everywhere`, () => {
    const field = show();
    type(field, "by a mouse's keyboard");
    fireEvent.keyDown(field, { key: "Enter", ...modifier });
    cleanup();
    onPhone();
    const other = show();
    type(other, "by a tablet's keyboard");
    fireEvent.keyDown(other, { key: "Enter", ...modifier });
    expect(sent).toEqual(["by a mouse's keyboard", "by a tablet's keyboard"]);
  });
}

test("a blank text is not sent", () => {
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

test("a text that was not accepted stays in the field", () => {
  const field = show();
  takes = false;
  type(field, "keep me");
  fireEvent.keyDown(field, { key: "Enter" });
  expect(field.value).toBe("keep me");
});

test("the field starts with the room's draft, and stores what is typed as the draft", () => {
  const field = show("half a thought");
  expect(field.value).toBe("half a thought");
  type(field, "half a thought, and the rest");
  expect(kept).toBe("half a thought, and the rest");
});

test("a long room name is shortened in the placeholder", () => {
  const room = "a-very-long-room-name-that-goes-on-and-on";
  expect(show("", { realm: "chat", room }).placeholder).toBe("Message a-very-long-room-na…");
});
