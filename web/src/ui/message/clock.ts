/** Days and times in the person's time zone and language. */
const time = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });
const day = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const dayAndYear = new Intl.DateTimeFormat(undefined, { dateStyle: "full" });

/** "14:03" */
export function timeOf(timestamp: number): string {
  return time.format(shown(timestamp));
}

/** "2:03" or "14:03": for places where "2:03 PM" does not fit. */
export function shortTimeOf(timestamp: number, format = time): string {
  const parts = format.formatToParts(shown(timestamp));
  const start = parts.findIndex(({ type }) => type === "hour");
  const end = parts.findIndex(({ type }) => type === "minute");
  return parts
    .slice(start, end + 1)
    .map(({ value }) => value)
    .join("");
}

/** Date and time in full, for a tooltip. */
export function momentOf(timestamp: number): string {
  return full.format(shown(timestamp));
}

let known = { start: 0, end: 0 };

/** The start of the day of a timestamp. Equal for two timestamps of one day. */
export function dayStart(timestamp: number): number {
  // Cached: consecutive messages are nearly always of one day, and each one asks.
  if (timestamp >= known.start && timestamp < known.end) return known.start;
  const date = new Date(shown(timestamp));
  const start = date.setHours(0, 0, 0, 0);
  known = { start, end: date.setDate(date.getDate() + 1) };
  return start;
}

/** "Today", "Yesterday", "Monday 3 March", with the year if it is not the current one. */
export function dayOf(timestamp: number, now: number = Date.now()): string {
  if (dayStart(timestamp) === dayStart(now)) return "Today";
  const yesterday = new Date(now);
  yesterday.setDate(yesterday.getDate() - 1);
  if (dayStart(timestamp) === dayStart(yesterday.getTime())) return "Yesterday";
  const sameYear = new Date(shown(timestamp)).getFullYear() === new Date(now).getFullYear();
  return (sameYear ? day : dayAndYear).format(shown(timestamp));
}

const FARTHEST = 8.64e15;

/** A trusted back end may store any number as a time; `Intl` throws outside the range of `Date`. */
function shown(timestamp: number): number {
  return Number.isNaN(timestamp) ? 0 : Math.min(Math.max(timestamp, -FARTHEST), FARTHEST);
}
