import type { Live } from "./message";
import type { Position } from "./place";
import type { Room } from "./room";

/** A live message joins the rows where the chain shows that nothing lies between; else it waits. */
export function heard(room: Room, live: Live): Room {
  const { upto } = room;
  if (!upto || room.reload || room.waiting.length > 0) return wait(room, live);
  if (live.seq <= upto.seq) {
    // Its row came with an answer that overtook it; or the log began anew and counts from 1.
    const isKnown = room.rows.some(({ at, key }) => isAt(at, upto, live) && key === keyOf(live));
    return isKnown ? room : { ...room, doubt: true };
  }
  const known = live.message !== null && room.rows.some(({ key }) => key === keyOf(live));
  const isClear = live.message !== null && (known || !live.stale || !room.hasOlder);
  // 0 is also what the log says when it has forgotten the message before.
  const follows = live.prev > 0 && live.prev <= upto.seq;
  return isClear && follows ? append(room, upto, live) : wait(room, live);
}

function wait(room: Room, live: Live): Room {
  return { ...room, waiting: [...room.waiting, { live, asked: false }] };
}

function append(room: Room, upto: Position, live: Live): Room {
  const at = { epoch: upto.epoch, seq: live.seq };
  // A repeat of a message owns a sequence and no row.
  const isRepeat = room.rows.some(({ key }) => key === keyOf(live));
  const rows = live.message && !isRepeat ? [...room.rows, { ...live.message, at }] : room.rows;
  return { ...room, rows, upto: at };
}

function isAt(at: Position, upto: Position, live: Live): boolean {
  return at.epoch === upto.epoch && at.seq === live.seq;
}

function keyOf(live: Live): string | undefined {
  return live.message?.key;
}
