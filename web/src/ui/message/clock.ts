/** Days and times as the person's own zone and language have them. */
const time = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });
const day = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const dayAndYear = new Intl.DateTimeFormat(undefined, { dateStyle: "full" });

/** "14:03" */
export function timeOf(timestamp: number): string {
  return time.format(shown(timestamp));
}

/** "2:03" or "14:03": the time where "2:03 PM" would not fit, and the whole of it is near. */
export function shortTimeOf(timestamp: number, format = time): string {
  const parts = format.formatToParts(shown(timestamp));
  const start = parts.findIndex(({ type }) => type === "hour");
  const end = parts.findIndex(({ type }) => type === "minute");
  return parts
    .slice(start, end + 1)
    .map(({ value }) => value)
    .join("");
}

/** The whole of it, for a tooltip. */
export function momentOf(timestamp: number): string {
  return full.format(shown(timestamp));
}

let known = { start: 0, end: 0 };

/** When the day began that a moment belongs to. Equal for two moments of one day. */
export function dayStart(timestamp: number): number {
  // Neighbours in a room are nearly always of one day, and a long room asks for each of them.
  if (timestamp >= known.start && timestamp < known.end) return known.start;
  const date = new Date(shown(timestamp));
  const start = date.setHours(0, 0, 0, 0);
  known = { start, end: date.setDate(date.getDate() + 1) };
  return start;
}

/** "Today", "Yesterday", "Monday 3 March", with its year where that is another. */
export function dayOf(timestamp: number, now: number = Date.now()): string {
  if (dayStart(timestamp) === dayStart(now)) return "Today";
  const yesterday = new Date(now);
  yesterday.setDate(yesterday.getDate() - 1);
  if (dayStart(timestamp) === dayStart(yesterday.getTime())) return "Yesterday";
  const sameYear = new Date(shown(timestamp)).getFullYear() === new Date(now).getFullYear();
  return (sameYear ? day : dayAndYear).format(shown(timestamp));
}

const FARTHEST = 8.64e15;

/** A trusted back end may store any number as a time; `Intl` throws beyond what a date can hold. */
function shown(timestamp: number): number {
  return Number.isNaN(timestamp) ? 0 : Math.min(Math.max(timestamp, -FARTHEST), FARTHEST);
}
