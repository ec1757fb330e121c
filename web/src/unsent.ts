import { messageKey } from "./message";
import type { Outbox } from "./outbox";
import type { Item } from "./outbox-store";
import { type Place, samePlace } from "./place";
import type { Delivery, Entry, Me } from "./view";

/** The outbox's items as entries. An entry stays the same object while its item does. */
export class Unsent {
  private readonly made = new WeakMap<Item, Entry>();

  of(outbox: Outbox, place: Place, me: Me): readonly Entry[] {
    const items = outbox.items.filter((item) => samePlace(item.place, place));
    return items.map((item) => this.entry(item, outbox.delivery(item), me));
  }

  entry(item: Item, delivery: Delivery, me: Me): Entry {
    const known = this.made.get(item);
    if (known && isSame(known.delivery, delivery)) return known;
    const { uid, id, text, created: timestamp } = item;
    const key = messageKey(uid, id);
    const entry = { key, id, uid, name: me.name, text, timestamp, at: null, delivery };
    this.made.set(item, entry);
    return entry;
  }
}

function isSame(a: Delivery, b: Delivery): boolean {
  return a === b || JSON.stringify(a) === JSON.stringify(b);
}
