import { expect, it } from "vitest";
import { toText } from "./text";

it("a text is sent without the blanks around it", () => {
  expect(toText("\n \n  indented\n\nlast \n")).toBe("  indented\n\nlast");
});

it("what one cannot see, and more than a text may hold, are nothing to send", () => {
  for (const typed of ["", " \n\t", "\0", "\u200b\u2060 \u3164", "😀".repeat(4_001)])
    expect(toText(typed)).toBeNull();
  expect(toText("😀".repeat(4_000))).toHaveLength(8_000);
});

it("what no text may hold is left out", () => {
  expect(toText("a\0b\ud800c")).toBe("ab\ufffdc");
});
