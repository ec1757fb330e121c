import type { Stored } from "./message";

/** The message keys of each list of rows. A list never changes, so its keys are computed once. */
const known = new WeakMap<readonly Stored[], Set<string>>();

export function hasKey(rows: readonly Stored[], key: string): boolean {
  return keysOf(rows).has(key);
}

/** Adds a row, and reuses the set of keys: a live message needs no pass over the rows. */
export function withRow(rows: readonly Stored[], row: Stored): readonly Stored[] {
  const keys = keysOf(rows);
  known.delete(rows);
  const next = [...rows, row];
  known.set(next, keys.add(row.key));
  return next;
}

function keysOf(rows: readonly Stored[]): Set<string> {
  let keys = known.get(rows);
  if (!keys) {
    keys = new Set(rows.map(({ key }) => key));
    known.set(rows, keys);
  }
  return keys;
}
