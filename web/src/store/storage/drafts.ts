import { type Place, placeKey, readAddress } from "../../model/place";
import { toText } from "../../model/text";
import type { Keep } from "./keep";

/** What a person has begun to write, by room. */
export class Drafts {
  constructor(private readonly keep: Keep<Readonly<Record<string, string>>>) {}

  of(place: Place): string {
    const drafts = this.keep.get();
    const key = placeKey(place);
    return Object.hasOwn(drafts, key) ? (drafts[key] ?? "") : "";
  }

  has(place: Place): boolean {
    return this.of(place).trim() !== "";
  }

  /** The rooms that have one. */
  places(): readonly Place[] {
    return Object.keys(this.keep.get()).flatMap((key) => {
      const address = readAddress(`#/${key}`);
      return address && address !== "invalid" && this.has(address.place) ? address.place : [];
    });
  }

  /** What was sent is none any more, unless something else was begun meanwhile. As `set`. */
  sent(place: Place, text: string): boolean {
    return toText(this.of(place)) === text && this.set(place, "");
  }

  /** True where the room has a draft now and had none, or the other way round. */
  set(place: Place, text: string): boolean {
    const had = this.has(place);
    this.keep.change(({ [placeKey(place)]: _, ...others }) =>
      text === "" ? others : { ...others, [placeKey(place)]: text },
    );
    return had !== this.has(place);
  }
}
