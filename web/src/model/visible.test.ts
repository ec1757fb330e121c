import { expect, test } from "vitest";
import { shownName } from "./visible";

test("a name is shown without characters that change the text direction", () => {
  expect(shownName("\u202eecilA\u202c \u2066Q\u2069")).toBe("ecilA Q");
  expect(shownName("نور \u200fالدين")).toBe("نور \u200fالدين");
});

test("an invisible name is replaced", () => {
  for (const name of ["", "  ", "\u200b\u202e", "\u3164"]) {
    expect(shownName(name)).toBe("(no name)");
  }
});
