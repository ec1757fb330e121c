import { type Place, placeKey, readAddress } from "../../model/place";
import { toText } from "../../model/text";
import type { StoredValue } from "./stored-value";

/** A person's drafts, by room. */
export class Drafts {
  constructor(private readonly keep: StoredValue<Readonly<Record<string, string>>>) {}

  of(place: Place): string {
    const drafts = this.keep.get();
    const key = placeKey(place);
    return Object.hasOwn(drafts, key) ? (drafts[key] ?? "") : "";
  }

  has(place: Place): boolean {
    return this.of(place).trim() !== "";
  }

  /** The rooms with a draft. */
  places(): readonly Place[] {
    return Object.keys(this.keep.get()).flatMap((key) => {
      const address = readAddress(`#/${key}`);
      return address && address !== "invalid" && this.has(address.place) ? address.place : [];
    });
  }

  /** Removes a draft that was sent, unless it was changed meanwhile. Returns the same as `set`. */
  sent(place: Place, text: string): boolean {
    return toText(this.of(place)) === text && this.set(place, "");
  }

  /** Returns whether the room gained or lost its draft. */
  set(place: Place, text: string): boolean {
    const had = this.has(place);
    this.keep.change(({ [placeKey(place)]: _, ...others }) =>
      text === "" ? others : { ...others, [placeKey(place)]: text },
    );
    return had !== this.has(place);
  }
}
