// @vitest-environment happy-dom
import { cleanup, render, screen } from "@testing-library/react";
import fc from "fast-check";
import { afterEach, expect, test, vi } from "vitest";
import { MessageText } from "./MessageText";

afterEach(() => {
  cleanup();
  vi.restoreAllMocks();
});

test("an address is a link, except in code", () => {
  render(
    <MessageText text={"https://a.example `https://b.example`\n```\nhttps://c.example\n```"} />,
  );
  expect(screen.getAllByRole("link").map((link) => link.textContent)).toEqual([
    "https://a.example",
  ]);
  const code = [...document.querySelectorAll("code")].map(({ textContent }) => textContent);
  expect(code).toEqual(["https://b.example", "https://c.example\n"]);
});

test("code is rendered as text, whatever it contains", () => {
  render(<MessageText text={"`<b>x</b>`\n```html\n<img src=x>\n```"} />);
  expect(document.querySelector("b, img")).toBeNull();
  expect(document.body.textContent).toBe("<b>x</b>\n<img src=x>\n");
});

test("any text becomes only text, links and code", () => {
  const bits = fc.constantFrom(
    "`",
    "```",
    "````",
    "\n",
    " ",
    "<b>",
    "<img src=x>",
    "</code>",
    "&lt;",
  );
  const text = fc.array(bits, { maxLength: 60 }).map((list) => list.join(""));
  const written = (text: string | null) => text?.replaceAll(/[`\s]/gu, "");
  fc.assert(
    fc.property(text, (text) => {
      cleanup();
      const { container } = render(<MessageText text={text} />);
      expect(container.querySelector(":not(div, pre, code)")).toBeNull();
      expect(written(container.textContent)).toBe(written(text));
    }),
  );
});

test("a text that cannot be parsed is shown as plain text", () => {
  const fault = new Error("unforeseen");
  const log = vi.spyOn(console, "error").mockReturnValue();
  vi.spyOn(String.prototype, "matchAll").mockImplementation(() => {
    throw fault;
  });
  const { container } = render(<MessageText text={"`code`\nhttps://a.example"} />);
  expect(container.querySelector(".text")?.textContent).toBe("`code`\nhttps://a.example");
  expect(log.mock.calls.flat()).toContain(fault);
});
