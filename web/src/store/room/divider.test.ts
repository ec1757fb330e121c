import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Divider } from "./divider";

const read = (seq: number) => () => ({ epoch: 1, seq });

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

it("the divider stays where reading began, even when everything is read", () => {
  const divider = new Divider(() => {});
  divider.look(3, read(7));
  divider.look(0, read(10));
  vi.advanceTimersByTime(5_000);
  expect(divider.after?.seq).toBe(7);
});

it("messages that are read on arrival get no divider", () => {
  const divider = new Divider(() => {});
  divider.look(0, read(7));
  divider.look(1, read(7));
  vi.advanceTimersByTime(500);
  divider.look(0, read(8));
  vi.advanceTimersByTime(5_000);
  expect(divider.after).toBeNull();
});

it("the divider moves to messages that arrived while nobody looked", () => {
  const changed = vi.fn();
  const divider = new Divider(changed);
  divider.look(2, read(7));
  divider.look(0, read(9));
  divider.look(1, read(9));
  vi.advanceTimersByTime(1_000);
  expect([divider.after?.seq, changed.mock.calls.length]).toEqual([9, 1]);
  divider.remove();
  expect(divider.after).toBeNull();
});
