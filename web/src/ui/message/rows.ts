import type { Entry } from "../../model/message";
import type { RoomView } from "../../store/view";
import { dayOf, dayStart } from "./clock";

/** A mark between two messages. */
export type Mark =
  | { kind: "day"; label: string }
  | { kind: "new" }
  | { kind: "gap"; state: "loading" | "failed" };

/**
 * One row of the list: a message and the marks below it, before the next one. Marks belong to the
 * row above, so that the top of a row is the top of its message: the list keeps its position by
 * that when older messages are added above.
 */
export interface Row {
  readonly entry: Entry;
  /** Shows its author; messages of the same author soon after do not. */
  readonly isFirst: boolean;
  readonly below: readonly Mark[];
  /** On the last of several waiting messages their number: it says so for all of them. Else 0. */
  readonly waiting: number;
}

export interface Rows {
  /** The marks above the first message. */
  readonly above: readonly Mark[];
  readonly rows: readonly Row[];
}

const GROUP_MS = 5 * 60_000;
const NONE: readonly Mark[] = [];

/**
 * Groups messages by author, and adds marks for days, new messages and gaps between them. `heads`
 * are messages that were at the top before older ones were loaded: they keep showing their author,
 * or the text under the reader would move. `today` is any time of the current day.
 */
export function rowsOf(
  room: Pick<RoomView, "entries" | "dividerBefore" | "gap">,
  heads: ReadonlySet<string>,
  today: number,
): Rows {
  const above: Mark[] = [];
  const rows: Row[] = [];
  let before: Entry | null = null;
  for (const entry of room.entries) {
    const marks = marksBetween(room, before, entry, today);
    const last = rows[rows.length - 1];
    if (!last) above.push(...marks);
    else if (marks.length > 0 || (last.waiting > 0 && isWaiting(entry))) {
      rows[rows.length - 1] = {
        ...last,
        below: marks,
        waiting: isWaiting(entry) ? 0 : last.waiting,
      };
    }
    const isFirst =
      marks.length > 0 || heads.has(entry.key) || before === null || !isGroup(before, entry);
    const waiting = isWaiting(entry) ? (last?.waiting ?? 0) + 1 : 0;
    rows.push({ entry, isFirst, below: NONE, waiting });
    before = entry;
  }
  const last = rows[rows.length - 1];
  if (room.gap && room.gap.before === null && last) {
    rows[rows.length - 1] = { ...last, below: [{ kind: "gap", state: room.gap.state }] };
  }
  return { above, rows };
}

/** Whether a message only waits for those before it. */
function isWaiting({ delivery }: Entry): boolean {
  return delivery.state === "queued" && delivery.problem === null;
}

function marksBetween(
  room: Pick<RoomView, "dividerBefore" | "gap">,
  before: Entry | null,
  entry: Entry,
  today: number,
): readonly Mark[] {
  const isNewDay = before === null || dayStart(before.timestamp) !== dayStart(entry.timestamp);
  const isGap = room.gap !== null && room.gap.before === entry.key;
  const isNew = room.dividerBefore === entry.key;
  if (!isNewDay && !isGap && !isNew) return NONE;
  const marks: Mark[] = [];
  if (isGap && room.gap) marks.push({ kind: "gap", state: room.gap.state });
  if (isNewDay) marks.push({ kind: "day", label: dayOf(entry.timestamp, today) });
  if (isNew) marks.push({ kind: "new" });
  return marks;
}

function isGroup(before: Entry, entry: Entry): boolean {
  return (
    before.uid === entry.uid &&
    before.name === entry.name &&
    Math.abs(entry.timestamp - before.timestamp) < GROUP_MS
  );
}
