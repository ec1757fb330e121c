import { expect, test } from "vitest";
import type { Delivery, Entry } from "../../model/message";
import { rowsOf } from "./rows";

const NOON = new Date(2026, 10, 24, 12).getTime();
const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;
const NO_HEADS: ReadonlySet<string> = new Set();

function entry(
  key: string,
  uid: string,
  timestamp: number,
  delivery: Delivery = { state: "sent" },
): Entry {
  return { key, id: key, uid, name: uid, text: key, timestamp, at: null, delivery };
}

function rows(entries: Entry[], more: { dividerBefore?: string; heads?: string[] } = {}) {
  const room = { entries, dividerBefore: more.dividerBefore ?? null, gap: null };
  return rowsOf(room, more.heads ? new Set(more.heads) : NO_HEADS, NOON);
}

const firsts = (entries: Entry[], heads: string[] = []) =>
  rows(entries, { heads }).rows.flatMap((row) => (row.isFirst ? [row.entry.key] : []));

test("messages of one person, soon after each other, show their author once", () => {
  const entries = [
    entry("a", "ada", NOON),
    entry("b", "ada", NOON + MINUTE),
    entry("c", "grace", NOON + 2 * MINUTE),
    entry("d", "grace", NOON + 20 * MINUTE),
  ];
  expect(firsts(entries)).toEqual(["a", "c", "d"]);
});

test("a message that was the oldest keeps its author when older ones are loaded", () => {
  const entries = [entry("older", "ada", NOON), entry("head", "ada", NOON + MINUTE)];
  expect(firsts(entries)).toEqual(["older"]);
  expect(firsts(entries, ["head"])).toEqual(["older", "head"]);
});

test("a new day is marked below the last message of the day before, and above the first of all", () => {
  const { above, rows: found } = rows([
    entry("a", "ada", NOON - DAY),
    entry("b", "ada", NOON - 12 * 60 * MINUTE + 1),
  ]);
  expect(above).toMatchObject([{ kind: "day" }]);
  expect(found[0]?.below).toMatchObject([{ kind: "day" }]);
  expect(found[1]?.below).toEqual([]);
});

test("what was today is yesterday after midnight", () => {
  const room = { entries: [entry("a", "ada", NOON)], dividerBefore: null, gap: null };
  expect(rowsOf(room, NO_HEADS, NOON).above).toEqual([{ kind: "day", label: "Today" }]);
  expect(rowsOf(room, NO_HEADS, NOON + DAY).above).toEqual([{ kind: "day", label: "Yesterday" }]);
});

test("the divider is before the first unread message, which shows its author", () => {
  const entries = [entry("a", "ada", NOON), entry("b", "ada", NOON + 1)];
  const found = rows(entries, { dividerBefore: "b" });
  expect(found.rows[0]?.below).toEqual([{ kind: "new" }]);
  expect(found.rows[1]?.isFirst).toBe(true);
});

test("a gap is shown in its place, even after the last message", () => {
  const entries = [entry("a", "ada", NOON), entry("b", "ada", NOON + 1)];
  const gapAt = (before: string | null) =>
    rowsOf(
      { entries, dividerBefore: null, gap: { before, state: "failed" } },
      NO_HEADS,
      NOON,
    ).rows.map(({ below }) => below.length);
  expect(gapAt("b")).toEqual([1, 0]);
  expect(gapAt(null)).toEqual([0, 1]);
});

test("the last of several waiting messages says how many wait", () => {
  const queued = { state: "queued", problem: null, until: null } as const;
  const blocked = { ...queued, problem: "Too many.", until: 1 };
  const refused = { state: "failed", reason: "Too large." } as const;
  const told = (...deliveries: Delivery[]) =>
    rows(deliveries.map((delivery, n) => entry(`${n}`, "ada", NOON + n, delivery))).rows.map(
      ({ waiting }) => waiting,
    );
  expect(told({ state: "sent" }, queued)).toEqual([0, 1]);
  expect(told(blocked, queued, queued, queued)).toEqual([0, 0, 0, 3]);
  expect(told(queued, queued, refused, queued)).toEqual([0, 2, 0, 1]);
});
