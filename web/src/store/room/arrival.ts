import { comparePositions, type Position } from "../../model/place";
import type { RoomDriver } from "./driver";

/** How many rows are loaded at most to find the first unread one: some twenty pages. */
const FARTHEST = 2_000;

/**
 * Comes into a room: goes back page by page to what was read last, or to where its reader left it,
 * so that it can open there. Where that is too far back it opens at the oldest one it got to.
 */
export class Arrival {
  isDone = false;

  /** Looks at the room after a change of it, and asks for the next page where that is needed. */
  follow(driver: RoomDriver, goal: Position | null) {
    const { room } = driver;
    if (this.isDone || !room.upto) return;
    const first = room.rows[0];
    const isThere = !goal || !first || comparePositions(first.at, goal) <= 0;
    // Whoever cannot have more is shown what there is.
    const isEnd = !room.joined || !room.hasOlder || room.olderProblem !== null;
    if (isThere || isEnd || room.rows.length >= FARTHEST) this.isDone = true;
    else driver.loadOlder();
  }
}
