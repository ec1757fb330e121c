import { comparePositions, type Position } from "../../model/place";
import type { RoomDriver } from "./driver";

/** How many rows are loaded at most to find the first unread one: about twenty pages. */
const FARTHEST = 2_000;

/**
 * Opening a room: loads older pages back to the last read message, or to where its reader left it,
 * so that the room can open there. If that is too far back it opens at the oldest loaded one.
 */
export class Arrival {
  isDone = false;

  /** Called with each change of the room. Asks for the next page if it is needed. */
  follow(driver: RoomDriver, goal: Position | null) {
    const { room } = driver;
    if (this.isDone || !room.upto) return;
    const first = room.rows[0];
    const isThere = !goal || !first || comparePositions(first.at, goal) <= 0;
    // No older page can be loaded: open with what is there.
    const isEnd = !room.joined || !room.hasOlder || room.olderProblem !== null;
    if (isThere || isEnd || room.rows.length >= FARTHEST) this.isDone = true;
    else driver.loadOlder();
  }
}
