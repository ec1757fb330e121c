import { expect, it } from "vitest";
import { uuidv7 } from "./uuid";

it("ids ascend within a millisecond and when the clock is set back", () => {
  const now = Date.now() + 1_000;
  const ids = Array.from({ length: 10_000 }, (_, index) => uuidv7(index < 9_000 ? now : now - 500));
  expect([...ids].sort()).toEqual(ids);
  expect(new Set(ids).size).toBe(ids.length);
  const form = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
  expect(ids.filter((id) => !form.test(id))).toEqual([]);
});
