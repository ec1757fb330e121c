import type { Stored } from "../../model/message";
import { comparePositions, type Place, type Position, placeKey } from "../../model/place";
import type { Room } from "../../model/room";
import type { StoredValue } from "../storage/stored-value";

/** How far a person has read, by room. */
export type LastRead = Readonly<Record<string, Position | undefined>>;

export interface Unread {
  readonly count: number;
  /** There may be more above the loaded rows. */
  readonly more: boolean;
}

/** Last read position, per person and room; it never moves back. */
export class Reading {
  constructor(private readonly keep: StoredValue<LastRead>) {}

  lastRead(place: Place): Position | null {
    const key = placeKey(place);
    return Object.hasOwn(this.keep.get(), key) ? (this.keep.get()[key] ?? null) : null;
  }

  /** Returns whether the position changed. */
  mark(place: Place, room: Room): boolean {
    const at = room.rows.at(-1)?.at ?? room.upto;
    const before = this.lastRead(place);
    if (!at || (before && comparePositions(at, before) === 0)) return false;
    const isBehind = before && comparePositions(at, before) < 0;
    // Only a log that was lost ends before the last read position.
    if (isBehind && room.upto && comparePositions(room.upto, before) >= 0) return false;
    this.keep.change((read) => ({ ...read, [placeKey(place)]: at }));
    return true;
  }
}

/** Counts messages by others after `lastRead`. */
export function unread(room: Room, lastRead: Position | null, uid: string): Unread {
  if (!lastRead) return { count: 0, more: false };
  let count = 0;
  for (let index = room.rows.length - 1; index >= 0; index -= 1) {
    const row = room.rows[index];
    if (!row || comparePositions(row.at, lastRead) <= 0) return { count, more: false };
    if (row.uid !== uid) count += 1;
  }
  return { count, more: room.hasOlder };
}

/** The first message by others after a position: the "New messages" divider is above it. */
export function firstAfter(rows: readonly Stored[], at: Position, uid: string): Stored | null {
  const index = rows.findLastIndex((row) => comparePositions(row.at, at) <= 0);
  return rows.slice(index + 1).find((row) => row.uid !== uid) ?? null;
}
