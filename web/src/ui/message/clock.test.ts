import { expect, test } from "vitest";
import { dayOf, dayStart, momentOf, shortTimeOf, timeOf } from "./clock";

const NOW = new Date(2026, 2, 3, 12).getTime();

test("today and yesterday are by the calendar, not by 24 hours", () => {
  expect(dayOf(new Date(2026, 2, 3, 0, 1).getTime(), NOW)).toBe("Today");
  expect(dayOf(new Date(2026, 2, 2, 23, 59).getTime(), NOW)).toBe("Yesterday");
  expect(dayOf(new Date(2026, 2, 2, 0, 0).getTime(), NOW)).toBe("Yesterday");
});

test("a day of another year has its year", () => {
  expect(dayOf(new Date(2026, 0, 5).getTime(), NOW)).not.toContain("2026");
  expect(dayOf(new Date(2024, 0, 5).getTime(), NOW)).toContain("2024");
});

test("two timestamps are of one day exactly if their dates are equal", () => {
  const moments = [0, 1, 23, 24, 25, 47, 48, 24 * 365].map((hours) => NOW + hours * 3_600_000);
  for (const a of moments) {
    for (const b of moments) {
      const isSame = new Date(a).toDateString() === new Date(b).toDateString();
      expect(dayStart(a) === dayStart(b)).toBe(isSame);
    }
  }
});

test("a time outside the range of Date is still shown", () => {
  for (const timestamp of [1e20, -1e20, Number.MAX_SAFE_INTEGER, Number.NaN]) {
    expect(timeOf(timestamp)).not.toBe("");
    expect(momentOf(timestamp)).not.toBe("");
    expect(dayOf(timestamp, NOW)).not.toBe("");
  }
});

test("a short time omits AM and PM, in every language", () => {
  const afternoon = new Date(2026, 2, 3, 22, 58).getTime();
  const short = (language: string) =>
    shortTimeOf(
      afternoon,
      new Intl.DateTimeFormat(language, { hour: "numeric", minute: "2-digit" }),
    );
  expect(short("en-US")).toBe("10:58");
  expect(short("ko-KR")).toBe("10:58");
  expect(short("de-DE")).toBe("22:58");
});
