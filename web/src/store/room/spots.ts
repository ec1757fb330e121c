import { type Place, placeKey } from "../../model/place";
import type { Spot } from "../view";

/** Where the reader of each room was when they left it, until the page is reloaded. */
export class Spots {
  private readonly left = new Map<string, Spot>();

  /** Null: at the end, where the room opens anyway. */
  leave(place: Place, spot: Spot | null) {
    if (spot) this.left.set(placeKey(place), spot);
    else this.forget(place);
  }

  forget(place: Place) {
    this.left.delete(placeKey(place));
  }

  of(place: Place): Spot | null {
    return this.left.get(placeKey(place)) ?? null;
  }
}
