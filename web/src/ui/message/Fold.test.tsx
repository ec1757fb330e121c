// @vitest-environment happy-dom
import { cleanup, fireEvent, render, screen } from "@testing-library/react";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Fold } from "./Fold";

let height = 0;
let toggled = 0;

beforeEach(() => {
  toggled = 0;
  vi.spyOn(Element.prototype, "scrollHeight", "get").mockImplementation(() => height);
});

afterEach(() => {
  cleanup();
  vi.restoreAllMocks();
});

const LONG = "line\n".repeat(100);

function show(id: string, text: string) {
  render(
    <Fold id={id} text={text} onToggle={() => (toggled += 1)}>
      <p>{text}</p>
    </Fold>,
  );
}

const buttons = () => screen.queryAllByRole("button");

test("a tall text unfolds and folds on a click", () => {
  height = 2_000;
  show("a", LONG);
  fireEvent.click(screen.getByRole("button", { name: "Show more", expanded: false }));
  fireEvent.click(screen.getByRole("button", { name: "Show less", expanded: true }));
  expect(screen.getByRole("button", { name: "Show more", expanded: false })).toBeTruthy();
  expect(toggled).toBe(2);
});

test("a text that is not tall is not folded", () => {
  height = 400;
  show("b", LONG);
  height = 2_000;
  show("c", "short");
  expect(buttons()).toEqual([]);
});

test("an unfolded text is still unfolded when it is rendered again", () => {
  height = 2_000;
  show("d", LONG);
  fireEvent.click(screen.getByRole("button", { name: "Show more" }));
  cleanup();
  show("d", LONG);
  expect(screen.getByRole("button", { name: "Show less", expanded: true })).toBeTruthy();
});
