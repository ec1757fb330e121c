import { older, type Place } from "../../model/place";
import type { RoomView, Spot } from "../view";
import { Arrival } from "./arrival";
import { Divider } from "./divider";
import type { RoomDriver } from "./driver";
import type { Jump } from "./jump";
import { firstAfter } from "./reading";
import { show } from "./room-view";

/** The room that is open, from when it is opened until another one is: where in it one looks. */
export class Visit {
  private readonly divider: Divider;
  /** Null where a permalink says where the room opens. */
  private readonly arrival: Arrival | null;
  /** Where the room opens, if not at its end or at what is new. */
  private readonly spot: Spot | null;

  constructor(
    /** Null: no room can have the name that the address gives. */
    readonly place: Place | null,
    /** The permalink that is followed. */
    public jump: Jump | null,
    left: Spot | null,
    changed: () => void,
  ) {
    this.divider = new Divider(changed);
    this.arrival = jump ? null : new Arrival();
    this.spot = jump ? null : left;
  }

  stop() {
    this.divider.stop();
  }

  /** The person writes here, so they have seen what there is. */
  wrote() {
    this.divider.remove();
  }

  /** Called with each change of what is unread. */
  look(...unread: Parameters<Divider["look"]>) {
    this.divider.look(...unread);
  }

  /** Loads older messages as far as where the room opens. Called with each change of the room. */
  follow(driver: RoomDriver) {
    this.arrival?.follow(driver, older(this.spot?.at ?? null, this.divider.after));
    this.jump?.follow(driver);
  }

  /**
   * Whether the reader is at the end: then rows far above are dropped, and else new ones at the end
   * wait once the room holds many.
   */
  stands(driver: RoomDriver, isAtEnd: boolean) {
    const count = driver.room.rows.length;
    if (!isAtEnd) {
      if (count > MOST_OPEN) driver.dispatch({ type: "held", isHeld: true });
      return;
    }
    driver.dispatch({ type: "held", isHeld: false });
    // A link that is followed leads to what would be let go.
    if (count <= 2 * KEPT_OPEN || this.jump?.target.state === "loading") return;
    driver.dispatch({ type: "trimmed", keep: KEPT_OPEN });
  }

  /** What there is to see of the room for the person `uid`. */
  show(driver: RoomDriver, isOffline: boolean, uid: string): Omit<RoomView, "unread" | "mayWrite"> {
    const { after } = this.divider;
    const first = after && firstAfter(driver.room.rows, after, uid);
    const shown = show(driver, isOffline);
    const isArriving = shown.phase === "ready" && this.arrival?.isDone === false;
    return {
      place: driver.place,
      ...shown,
      // Rows that will not be in view in the end are not shown for a moment.
      ...(isArriving && { phase: "loading", entries: [] }),
      dividerBefore: first?.key ?? null,
      target: this.jump?.target ?? null,
      spot: this.spot,
    };
  }
}

/** Rows that the open room keeps at least while its reader is at the end; twice as many at most. */
const KEPT_OPEN = 500;

/** From so many rows on the open room takes in nothing at its end while its reader is further up. */
const MOST_OPEN = 3_000;

/** Shown where the address names no room that can be. */
export const INVALID: RoomView = {
  place: { realm: "chat", room: "" },
  phase: "invalid",
  entries: [],
  older: { state: "unknown" },
  gap: null,
  problem: null,
  dividerBefore: null,
  unread: 0,
  target: null,
  spot: null,
  mayWrite: false,
};
