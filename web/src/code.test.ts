import fc from "fast-check";
import { expect, test } from "vitest";
import { parts } from "./code";

/** The parts, each as short as it can be told: `said`, [code], {block}. */
function told(text: string): string {
  const signs = { said: ["", ""], code: ["[", "]"], block: ["{", "}"] } as const;
  return parts(text)
    .map(({ kind, text }) => signs[kind].join(text))
    .join("");
}

test("what stands between backticks is code", () => {
  expect(told("run `npm ci`, then `x`.")).toBe("run [npm ci], then [x].");
  expect(told("``a`b`` and ```c```")).toBe("[a`b] and [c]");
});

test("what stands between lines of three backticks is a block of code", () => {
  expect(told("so:\n```rust\nfn x() {}\n\n`y`\n```\nyes")).toBe("so:\n{fn x() {}\n\n`y`\n}yes");
  expect(told("```\na\n```\n```\nb\n```")).toBe("{a\n}{b\n}");
});

test("a backtick that nothing closes, or inside of words, is one", () => {
  for (const text of [
    "`",
    "``",
    "it`s don`t",
    "`a\nb`",
    "```\nnot closed",
    "```\n```",
    "a ```\nb\n```",
  ]) {
    expect(told(text)).toBe(text);
  }
});

test("of any text nothing but what marks code is left out, and it takes no time", () => {
  const bits = fc.constantFrom("`", "``", "```", "\n", "a", " ", "```js\n", "https://a.b");
  const text = fc.array(bits, { maxLength: 2_000 }).map((list) => list.join(""));
  fc.assert(
    fc.property(text, (text) => {
      let at = 0;
      for (const part of parts(text)) {
        const found = text.indexOf(part.text, at);
        expect(text.slice(at, found)).toMatch(/^(\n?```(js)?[ \t`]*\n?|`{1,3}|)*$/u);
        at = found + part.text.length;
      }
    }),
    { numRuns: 50 },
  );
});
