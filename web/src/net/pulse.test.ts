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
  it("pings after 4 s of silence, and gives up 3 s later", () => {
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

  it("pings rarely while the page is hidden, and at once when it is shown", () => {
    const { told, pulse } = watched(false);
    vi.advanceTimersByTime(19_999);
    expect(told).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(told).toEqual(["ask"]);
    pulse.heard();
    pulse.check();
    expect(told).toEqual(["ask", "ask"]);
  });

  it("does not ping while data comes", () => {
    const { told, pulse } = watched();
    for (let second = 0; second < 60; second += 1) {
      vi.advanceTimersByTime(1_000);
      pulse.heard();
    }
    expect(told).toEqual([]);
  });

  it("accepts any data as the answer", () => {
    const { told, pulse } = watched();
    vi.advanceTimersByTime(6_999);
    pulse.heard();
    vi.advanceTimersByTime(3_999);
    expect(told).toEqual(["ask"]);
  });

  it("pings once and at once when it is told to", () => {
    const { told, pulse } = watched();
    pulse.check();
    pulse.check();
    expect(told).toEqual(["ask"]);
    vi.advanceTimersByTime(3_000);
    expect(told).toEqual(["ask", "dead"]);
  });

  it("pings again after a sleep, which does not count as silence", () => {
    const { told, pulse } = watched();
    pulse.check();
    // During sleep timers stop, but the clock goes on.
    vi.setSystemTime(Date.now() + 3_600_000);
    vi.advanceTimersByTime(3_000);
    expect(told).toEqual(["ask", "ask"]);
    vi.advanceTimersByTime(3_000);
    expect(told).toEqual(["ask", "ask", "dead"]);
  });

  it("that was stopped neither pings nor ends the connection", () => {
    const { told, pulse } = watched();
    pulse.check();
    pulse.stop();
    vi.advanceTimersByTime(60_000);
    expect(told).toEqual(["ask"]);
  });
});
