import { expect, it } from "vitest";
import { uidOf } from "./uid";

it("a plain id of a provider is kept, any other one is hashed", async () => {
  expect(await uidOf("a11ce000-0000-4000-8000-000000000001")).toBe(
    "o-a11ce000-0000-4000-8000-000000000001",
  );
  // echo -n "a.b" | openssl dgst -sha256 -binary | basenc --base64url | tr -d =
  expect(await uidOf("a.b")).toBe("o--LnM23I66h-9HLfVow1SCq_JXXcPl6sDFxiuP-urCyTQ");
  for (const sub of ["", "*", ">", "a b", "ü", "x".repeat(61), "-a"]) {
    expect(await uidOf(sub), sub).toMatch(/^o--[A-Za-z0-9_-]{43}$/);
  }
});
