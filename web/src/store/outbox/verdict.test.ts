import { describe, expect, it } from "vitest";
import { Failure } from "../../net/failure";
import { judge } from "./verdict";

describe("a failed send", () => {
  it("is retried if it may have been accepted, or the service was away", () => {
    for (const failure of [
      new Failure("away", "No answer came in time."),
      new Failure("refused", "try again", 503),
      new Failure("refused", "try again", 504),
      new Failure("refused", "internal error", 500),
    ]) {
      expect(judge(failure, 0).type, failure.message).toBe("again");
    }
    expect(judge(new Failure("lost", "x"), 0)).toEqual({ type: "offline" });
  });

  it("waits longer each time, and never longer than 15 s", () => {
    const waits = [0, 1, 2, 5, 50].map((tries) => {
      const verdict = judge(new Failure("away", "x"), tries, 1);
      return verdict.type === "again" ? verdict.wait : null;
    });
    expect(waits).toEqual([500, 1_000, 2_000, 15_000, 15_000]);
  });

  it("is final if a retry would be refused too", () => {
    expect(judge(new Failure("forbidden", "x"), 0).type).toBe("failed");
    for (const code of [400, 401, 403, 404, 409, 413]) {
      expect(judge(new Failure("refused", "no", code), 0).type, String(code)).toBe("failed");
    }
    expect(judge(new Failure("refused", "internal error", 500), 3).type).toBe("failed");
  });
});
