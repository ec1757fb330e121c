import { type Place, placeKey } from "../../model/place";
import type { Spot } from "../view";

/** Where the reader of each room was when they left it, for as long as the page is there. */
export class Spots {
  private readonly left = new Map<string, Spot>();

  /** Null for whoever was at the end: there they come back to. */
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
