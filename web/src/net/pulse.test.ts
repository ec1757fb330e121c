import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Pulse } from "./pulse";

function watched(isSeen = true) {
  const told: string[] = [];
  const pulse = new Pulse(
    () => told.push("ask"),
    () => told.push("dead"),
    () => isSeen,
  );
  return { told, pulse };
}

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

describe("a pulse", () => {
  it("asks after 4 s of silence, and gives up 3 s later", () => {
    const { told } = watched();
    vi.advanceTimersByTime(3_999);
    expect(told).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(told).toEqual(["ask"]);
    vi.advanceTimersByTime(2_999);
    expect(told).toEqual(["ask"]);
    vi.advanceTimersByTime(1);
    expect(told).toEqual(["ask", "dead"]);
    vi.advanceTimersByTime(60_000);
    expect(told).toEqual(["ask", "dead"]);
  });

  it("asks seldom while nobody sees the page, and at once when somebody does", () => {
    const { told, pulse } = watched(false);
    vi.advanceTimersByTime(19_999);
    expect(told).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(told).toEqual(["ask"]);
    pulse.heard();
    pulse.check();
    expect(told).toEqual(["ask", "ask"]);
  });

  it("asks nothing while something comes", () => {
    const { told, pulse } = watched();
    for (let second = 0; second < 60; second += 1) {
      vi.advanceTimersByTime(1_000);
      pulse.heard();
    }
    expect(told).toEqual([]);
  });

  it("takes whatever comes for the answer", () => {
    const { told, pulse } = watched();
    vi.advanceTimersByTime(6_999);
    pulse.heard();
    vi.advanceTimersByTime(3_999);
    expect(told).toEqual(["ask"]);
  });

  it("asks at once when it is told to, and once", () => {
    const { told, pulse } = watched();
    pulse.check();
    pulse.check();
    expect(told).toEqual(["ask"]);
    vi.advanceTimersByTime(3_000);
    expect(told).toEqual(["ask", "dead"]);
  });

  it("asks anew after a sleep, which is no silence", () => {
    const { told, pulse } = watched();
    pulse.check();
    // During sleep timers stop, but the clock goes on.
    vi.setSystemTime(Date.now() + 3_600_000);
    vi.advanceTimersByTime(3_000);
    expect(told).toEqual(["ask", "ask"]);
    vi.advanceTimersByTime(3_000);
    expect(told).toEqual(["ask", "ask", "dead"]);
  });

  it("that was stopped says nothing more", () => {
    const { told, pulse } = watched();
    pulse.check();
    pulse.stop();
    vi.advanceTimersByTime(60_000);
    expect(told).toEqual(["ask"]);
  });
});
