import { type Place, type Position, placeKey } from "./place";
import type { Room } from "./room";
import type { Spot } from "./view";

/** A spot, and the position of its message: how far back the room has to be loaded for it. */
export interface Left extends Spot {
  readonly at: Position | null;
}

/** Where the reader of each room was when they left it, for as long as the page is there. */
export class Spots {
  private readonly left = new Map<string, Left>();

  /** Null for whoever was at the end: there they come back to. */
  leave(place: Place, room: Room, spot: Spot | null) {
    if (!spot) return this.forget(place);
    const at = room.rows.find(({ key }) => key === spot.key)?.at ?? null;
    this.left.set(placeKey(place), { ...spot, at });
  }

  forget(place: Place) {
    this.left.delete(placeKey(place));
  }

  of(place: Place): Left | null {
    return this.left.get(placeKey(place)) ?? null;
  }
}
