import type { Stored } from "./message";

/** Which messages are among rows. A list of rows never changes, so that is found out once for each. */
const known = new WeakMap<readonly Stored[], Set<string>>();

export function hasKey(rows: readonly Stored[], key: string): boolean {
  return keysOf(rows).has(key);
}

/** The rows and one more. What is known of them passes on: a live message walks no rows. */
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
