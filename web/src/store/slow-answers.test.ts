import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { SlowAnswers } from "./slow-answers";

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

/** Waits for one answer, which comes or fails when the test says so. */
function waiting() {
  const told: string[] = [];
  const answers = new SlowAnswers(() => told.push(answers.isSlow ? "slow" : "fast"));
  let resolve = (_: string) => {};
  let reject = (_: Error) => {};
  const answer = new Promise<string>((...both) => {
    [resolve, reject] = both;
  });
  const end = answers.wait(answer, () => told.push("looks"));
  return { told, answers, end, resolve, reject };
}

it("an answer within two seconds is not late", async () => {
  const { told, end, resolve } = waiting();
  await vi.advanceTimersByTimeAsync(1_999);
  resolve("yes");
  expect(await end).toBe("yes");
  await vi.advanceTimersByTimeAsync(60_000);
  expect(told).toEqual([]);
});

it("a late answer is reported, checked once, and forgotten when it comes", async () => {
  const { told, end, resolve } = waiting();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(told).toEqual(["slow", "looks"]);
  resolve("yes");
  expect(await end).toBe("yes");
  expect(told).toEqual(["slow", "looks", "fast"]);
});

it("a late answer that fails is forgotten too", async () => {
  const { told, answers, end, reject } = waiting();
  await vi.advanceTimersByTimeAsync(2_000);
  reject(new Error("lost"));
  await expect(end).rejects.toThrow("lost");
  expect([told.at(-1), answers.isSlow]).toEqual(["fast", false]);
});
