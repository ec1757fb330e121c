import type { Keep } from "./keep";
import { type Place, placeKey } from "./place";

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

  /** True where the room has a draft now and had none, or the other way round. */
  set(place: Place, text: string): boolean {
    const had = this.has(place);
    const { [placeKey(place)]: _, ...others } = this.keep.get();
    this.keep.set(text === "" ? others : { ...others, [placeKey(place)]: text });
    return had !== this.has(place);
  }
}
