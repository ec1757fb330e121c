// @vitest-environment happy-dom
import { act, renderHook } from "@testing-library/react";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { dayStart } from "../message/clock";
import { useToday } from "./useToday";

beforeEach(() => vi.useFakeTimers({ now: new Date(2026, 10, 24, 23, 59) }));
afterEach(() => vi.useRealTimers());

it("today ends at midnight without any other event", () => {
  const { result } = renderHook(() => useToday());
  expect(result.current).toBe(dayStart(new Date(2026, 10, 24, 1).getTime()));
  act(() => void vi.advanceTimersByTime(90_000));
  expect(result.current).toBe(dayStart(new Date(2026, 10, 25, 1).getTime()));
});

it("today is updated when the page is shown again after a sleep", () => {
  const { result } = renderHook(() => useToday());
  vi.setSystemTime(new Date(2026, 10, 26, 8));
  act(() => void document.dispatchEvent(new Event("visibilitychange")));
  expect(result.current).toBe(dayStart(new Date(2026, 10, 26, 1).getTime()));
});
