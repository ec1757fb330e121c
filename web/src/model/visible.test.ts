import { expect, test } from "vitest";
import { isVisible, shownName } from "./visible";

test("blanks, control characters and fillers show nothing", () => {
  for (const text of [
    "",
    " \n\t\u00a0\u3000",
    "\u0007\u001b\u0085",
    "\u200b\u200c\u200d\u2060\ufeff\u00ad",
    "\u202e\u2066\u2069\u200f\u061c",
    "\u3164\u115f\uffa0\u2800\ufff9",
    "\ufe0f\u{e0041}\u034f",
  ]) {
    expect(isVisible(text), JSON.stringify(text)).toBe(false);
  }
});

test("whatever one sees is visible, also among what one does not", () => {
  for (const text of ["x", "\u200b.", "👍🏽", "👩‍💻", "可", "\u202eא", "´", "\ue000"]) {
    expect(isVisible(text), text).toBe(true);
  }
});

test("a name is shown without what would turn its direction", () => {
  expect(shownName("\u202eecilA\u202c \u2066Q\u2069")).toBe("ecilA Q");
  expect(shownName("نور \u200fالدين")).toBe("نور \u200fالدين");
});

test("a name that one cannot see is told", () => {
  for (const name of ["", "  ", "\u200b\u202e", "\u3164"]) {
    expect(shownName(name)).toBe("(no name)");
  }
});
