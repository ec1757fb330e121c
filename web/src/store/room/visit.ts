import { older, type Place } from "../../model/place";
import type { RoomView, Spot } from "../view";
import { Arrival } from "./arrival";
import { Divider } from "./divider";
import type { RoomDriver } from "./driver";
import type { Jump } from "./jump";
import { firstAfter } from "./reading";
import { show } from "./room-view";

/** The open room, until another one is opened: where its reader looks, and what is marked there. */
export class Visit {
  private readonly divider: Divider;
  /** Null if a permalink decides where the room opens. */
  private readonly arrival: Arrival | null;
  /** Where the room opens, if not at its end or at the first unread message. */
  private readonly spot: Spot | null;

  constructor(
    /** Null: the address is not valid. */
    readonly place: Place | null,
    /** The permalink that is being followed. */
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

  /** The person wrote here, so they have seen the messages. */
  wrote() {
    this.divider.remove();
  }

  /** Called with each change of the unread messages. */
  look(...unread: Parameters<Divider["look"]>) {
    this.divider.look(...unread);
  }

  /** Loads older messages back to where the room opens. Called with each change of the room. */
  follow(driver: RoomDriver) {
    this.arrival?.follow(driver, older(this.spot?.at ?? null, this.divider.after));
    this.jump?.follow(driver);
  }

  /**
   * Whether the reader is at the end. There rows far above are dropped; elsewhere new messages are
   * not added once the room holds many.
   */
  setAtEnd(driver: RoomDriver, isAtEnd: boolean) {
    const count = driver.room.rows.length;
    if (!isAtEnd) {
      if (count > MOST_OPEN) driver.dispatch({ type: "held", isHeld: true });
      return;
    }
    driver.dispatch({ type: "held", isHeld: false });
    // The message of a permalink may be among those that would be dropped.
    if (count <= 2 * KEPT_OPEN || this.jump?.target.state === "loading") return;
    driver.dispatch({ type: "trimmed", keep: KEPT_OPEN });
  }

  /** What is shown of the room to the person `uid`. */
  show(driver: RoomDriver, isOffline: boolean, uid: string): Omit<RoomView, "unread" | "mayWrite"> {
    const { after } = this.divider;
    const first = after && firstAfter(driver.room.rows, after, uid);
    const shown = show(driver, isOffline);
    const isArriving = shown.phase === "ready" && this.arrival?.isDone === false;
    return {
      place: driver.place,
      ...shown,
      // Do not flash rows that will be out of view once the room has opened.
      ...(isArriving && { phase: "loading", entries: [] }),
      dividerBefore: first?.key ?? null,
      target: this.jump?.target ?? null,
      spot: this.spot,
    };
  }
}

/** While its reader is at the end, the open room keeps between this many rows and twice as many. */
const KEPT_OPEN = 500;

/** With more rows than this, no new messages are added while the reader is further up. */
const MOST_OPEN = 3_000;

/** Shown for an address that is not valid. */
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
