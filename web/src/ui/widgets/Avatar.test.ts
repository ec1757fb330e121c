import { expect, test } from "vitest";
import { initials } from "./Avatar";

test("initials are of the first and the last word, and never half an emoji", () => {
  expect(initials("Ada Lovelace")).toBe("AL");
  expect(initials("Maya van Okafor")).toBe("MO");
  expect(initials("bob")).toBe("B");
  expect(initials("first.last")).toBe("FL");
  expect(initials("😀 smile")).toBe("😀S");
  expect(initials("\u202e\u200bé.\u2066x")).toBe("ÉX");
  expect(initials("")).toBe("?");
  expect(initials("   ")).toBe("?");
});
