import fc from "fast-check";
import { expect, test } from "vitest";
import { parts } from "./code";

/** The parts in short notation: text, [code], {block}. */
function told(text: string): string {
  const signs = { said: ["", ""], code: ["[", "]"], block: ["{", "}"] } as const;
  return parts(text)
    .map(({ kind, text }) => signs[kind].join(text))
    .join("");
}

test("text between backticks is code", () => {
  expect(told("run `npm ci`, then `x`.")).toBe("run [npm ci], then [x].");
  expect(told("``a`b`` and ```c```")).toBe("[a`b] and [c]");
});

test("text between lines of three backticks is a block of code", () => {
  expect(told("so:\n```rust\nfn x() {}\n\n`y`\n```\nyes")).toBe("so:\n{fn x() {}\n\n`y`\n}yes");
  expect(told("```\na\n```\n```\nb\n```")).toBe("{a\n}{b\n}");
  expect(told("```js\r\na\r\n```\r\nyes")).toBe("{a\r\n}yes");
});

test("code on the lines of its fences is a block, as in Slack", () => {
  expect(told("```fn main() {\n}```")).toBe("{fn main() {\n}}");
  expect(told("```fn main() {\n}\n```\nyes")).toBe("{fn main() {\n}\n}yes");
  expect(told("so: ```a\nb```, yes")).toBe("so: {a\nb}, yes");
  expect(told("a ```\nb\n```")).toBe("a {b\n}");
  expect(told("```\na```\nb\n```\nc```")).toBe("{a}b\n{c}");
  // A word after the fence is a language only if a fence on its own line closes the block.
  expect(told("```make\nmake x```")).toBe("{make\nmake x}");
});

test("a fence of more backticks may contain fences of fewer", () => {
  expect(told("````md\n```js\na\n```\n````\nyes")).toBe("{```js\na\n```\n}yes");
  expect(told("````a\n```b\n```\nc````")).toBe("{a\n```b\n```\nc}");
  expect(told("````a````")).toBe("[a]");
});

test("a line of a block may contain its fence", () => {
  expect(told("```js\nlet a = '```';\n```")).toBe("{let a = '```';\n}");
});

test("an unclosed backtick, or one inside a word, is text", () => {
  for (const text of [
    "`",
    "``",
    "it`s don`t",
    "`a\nb`",
    "```\nnot closed",
    "```\n```",
    "``` \n ```",
    "```fn main() {\n}",
    "````\na\n```",
    "```\na\n````",
    "```a\nb```c",
  ]) {
    expect(told(text)).toBe(text);
  }
});

test("only the marks of code are removed from any text, and quickly", () => {
  const bits = fc.constantFrom(
    ...["`", "``", "```", "````", "\n", "é", " ", "```js\n", "```a {\n", "a}```\n", "https://a.b"],
  );
  const lengths = [8, 30, 2_000].map((maxLength) => fc.array(bits, { maxLength, size: "max" }));
  const text = fc.oneof(...lengths).map((list) => list.join(""));
  // Only this word can be the language after a fence.
  const marks = /^(`|\s|js)*$/u;
  fc.assert(
    fc.property(text, (text) => {
      let at = 0;
      for (const part of parts(text)) {
        const found = text.indexOf(part.text, at);
        expect(text.slice(at, found)).toMatch(marks);
        at = found + part.text.length;
      }
      expect(text.slice(at)).toMatch(marks);
    }),
    { numRuns: 500 },
  );
});
