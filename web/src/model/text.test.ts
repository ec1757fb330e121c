import { expect, it } from "vitest";
import { toText } from "./text";

it("an unpaired surrogate is replaced", () => {
  expect(toText("a\0b\ud800c")).toBe("ab\ufffdc");
});
