import { comparePositions, type Position } from "../../model/place";
import type { Target } from "../view";
import type { RoomDriver } from "./driver";

/** How many rows are loaded at most to find the message of a permalink. */
const FARTHEST = 10_000;

/** Follows a permalink: loads older pages until its message is there. */
export class Jump {
  target: Target;

  constructor(
    private readonly at: Position,
    private readonly token: number,
  ) {
    this.target = { state: "loading", at, token };
  }

  /** Called with each change of the room. Asks for the next page if it is needed. */
  follow(driver: RoomDriver) {
    const { room } = driver;
    const first = room.rows[0];
    if (this.target.state !== "loading" || !room.upto || room.reload) return;
    const found = room.rows.find(({ at }) => comparePositions(at, this.at) === 0);
    if (found) {
      this.target = { state: "found", key: found.key, token: this.token };
    } else if (!room.hasOlder || !first || comparePositions(first.at, this.at) < 0) {
      if (!room.asking) this.missing("The message of this link is not in this room.");
    } else if (room.rows.length >= FARTHEST) {
      this.missing("The message of this link is too far back to be shown.");
    } else if (room.olderProblem === null) {
      driver.loadOlder();
    }
  }

  private missing(said: string) {
    this.target = { state: "missing", said, token: this.token };
  }
}
