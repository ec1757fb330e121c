import { expect, it } from "vitest";
import { toText } from "./text";

it("half of a surrogate pair, which no text may hold, is replaced", () => {
  expect(toText("a\0b\ud800c")).toBe("ab\ufffdc");
});
