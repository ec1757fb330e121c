import { hasKey, withRow } from "./keys";
import type { Live } from "./message";
import type { Position } from "./place";
import type { Room } from "./room";

/** A live message is appended if its `prev` shows that none is missing before it; else it waits. */
export function heard(room: Room, live: Live): Room {
  const { upto } = room;
  if (room.isHeld && upto && !room.reload) return room.doubt ? room : { ...room, doubt: true };
  if (!upto || room.reload || room.waiting.length > 0) return wait(room, live);
  if (live.seq <= upto.seq) {
    // An answer overtook it and had its row; or the log was recreated and counts from 1.
    const key = keyOf(live);
    const isRow = key !== undefined && hasKey(room.rows, key);
    const isKnown = isRow && room.rows.some((row) => isAt(row.at, upto, live) && row.key === key);
    return isKnown ? room : { ...room, doubt: true };
  }
  const known = live.message !== null && hasKey(room.rows, live.message.key);
  const isClear = live.message !== null && (known || !live.stale || !room.hasOlder);
  // The log also says 0 if it no longer has the previous message.
  const follows = live.prev > 0 && live.prev <= upto.seq;
  return isClear && follows ? append(room, upto, live) : wait(room, live);
}

/** Limit of live messages that wait for history; it is asked for any beyond that. */
const MOST_WAITING = 500;

function wait(room: Room, live: Live): Room {
  const waiting = [...room.waiting, { live, asked: false }];
  if (waiting.length <= MOST_WAITING) return { ...room, waiting };
  return { ...room, waiting: waiting.slice(1), doubt: true };
}

function append(room: Room, upto: Position, live: Live): Room {
  const at = { epoch: upto.epoch, seq: live.seq };
  // A repeated message has a sequence, but no row.
  const isRepeat = live.message !== null && hasKey(room.rows, live.message.key);
  const rows = live.message && !isRepeat ? withRow(room.rows, { ...live.message, at }) : room.rows;
  return { ...room, rows, upto: at };
}

function isAt(at: Position, upto: Position, live: Live): boolean {
  return at.epoch === upto.epoch && at.seq === live.seq;
}

function keyOf(live: Live): string | undefined {
  return live.message?.key;
}
