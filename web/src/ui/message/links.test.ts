import fc from "fast-check";
import { afterEach, expect, test, vi } from "vitest";
import { pieces } from "./links";

afterEach(() => vi.unstubAllGlobals());

const links = (text: string) => pieces(text).flatMap((piece) => (piece.href ? [piece.text] : []));

test("an address becomes a link without the punctuation around it", () => {
  expect(links("See https://nats.io/docs, or (http://a.example/b_(c)).")).toEqual([
    "https://nats.io/docs",
    "http://a.example/b_(c)",
  ]);
  expect(links("write to mailto:a@b.example!")).toEqual(["mailto:a@b.example"]);
});

test("an address becomes a link in a browser that has no URL.parse yet", () => {
  vi.stubGlobal(
    "URL",
    class extends URL {
      static override parse = undefined as never;
    },
  );
  expect(links("https://a.example and http://[")).toEqual(["https://a.example"]);
});

test("nothing but http, https and mailto becomes a link", () => {
  for (const text of [
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "file:///etc/passwd",
    "vbscript:x",
    "xhttps://inside.word",
    "http://",
    "mailto:",
  ]) {
    expect(links(text)).toEqual([]);
  }
});

test("a link never looks like another address", () => {
  expect(links("https://a.example/\u202egpj.exe")).toEqual(["https://a.example/"]);
  expect(links("\u2066https://a.example\u2069")).toEqual(["https://a.example"]);
});

test("the pieces of any text joined again are the text", () => {
  const words = fc.constantFrom(
    "http://a.b",
    "https://",
    "mailto:x@y",
    "javascript:",
    "(",
    ")",
    ".",
    " ",
    "<b>",
    "é",
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(words).map((list) => list.join("")),
      ),
      (text) => {
        const found = pieces(text);
        expect(found.map((piece) => piece.text).join("")).toBe(text);
        for (const piece of found) {
          if (piece.href) expect(piece.href).toMatch(/^(https?|mailto):/u);
        }
      },
    ),
  );
});
