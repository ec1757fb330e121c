import { hasKey } from "../model/keys";
import type { Me } from "../model/me";
import { type Delivery, type Entry, messageKey, SENT } from "../model/message";
import { type Place, samePlace } from "../model/place";
import type { Sent } from "../net/connection";
import { Outbox } from "./outbox/outbox";
import type { Item, OutboxStore } from "./outbox/outbox-store";
import { browserTabs } from "./outbox/tabs";
import type { RoomDriver } from "./room/driver";
import type { Rooms } from "./room/rooms";
import type { UnsentView } from "./view";

/** A person's own unsent messages: the outbox, and what the rooms show of it. */
export class OutboxView {
  readonly outbox: Outbox;
  private readonly entries = new WeakMap<Item, Entry>();

  constructor(
    private readonly me: () => Me,
    store: OutboxStore,
    private readonly rooms: Rooms,
    changed: () => void,
    written: (item: Item) => void,
  ) {
    const { uid } = me();
    const events = {
      changed,
      written,
      acked: (item: Item, sent: Sent) => this.acked(item, sent),
    };
    const name = `chat-outbox/${uid}`;
    this.outbox = new Outbox(uid, store, events, (heard) => browserTabs(name, heard));
  }

  /** The rooms with unsent messages. */
  places(): readonly Place[] {
    return this.outbox.items.map(({ place }) => place);
  }

  /** How many messages of a room wait for their turn, and how many for Retry or Discard. */
  count(place: Place): { queued: number; failed: number } {
    const own = this.outbox.items.filter((item) => samePlace(item.place, place));
    const failed = own.filter(({ refused }) => refused).length;
    return { queued: own.length - failed, failed };
  }

  /** Counts unsent messages, and finds a problem that the open room does not show. */
  view(open: Place | null): UnsentView {
    const { items } = this.outbox;
    const failed = items.filter(({ refused }) => refused).length;
    const head = items.find((item) => hasProblem(this.outbox.delivery(item)));
    const wrong = head ? [head] : items.filter(({ refused }) => refused);
    const other = wrong.find(({ place }) => !samePlace(place, open));
    const elsewhere = other ? { place: other.place, delivery: this.outbox.delivery(other) } : null;
    return { queued: items.length - failed, failed, elsewhere };
  }

  /** Gives each room its unsent messages. */
  show() {
    for (const driver of this.rooms.all()) {
      const { unsent } = driver.room;
      const items = this.outbox.items.filter(({ place }) => samePlace(place, driver.place));
      const entries = items.map((item) => this.entry(item, this.outbox.delivery(item)));
      const isSame =
        entries.length === unsent.length && entries.every((entry, i) => entry === unsent[i]);
      if (!isSame) driver.dispatch({ type: "unsent", entries });
    }
  }

  /** A message with a row was accepted, even if its answer was lost: the outbox drops it. */
  settle({ room }: RoomDriver) {
    if (this.outbox.items.length === 0) return;
    for (const { uid, id } of this.outbox.items) {
      if (hasKey(room.rows, messageKey(uid, id))) this.outbox.seen(id);
    }
  }

  private acked(item: Item, { timestamp }: Sent) {
    const entry = this.entry(item, SENT);
    this.rooms.find(item.place)?.dispatch({ type: "acked", entry, timestamp });
  }

  /** Returns the same object as long as nothing in it changes. */
  private entry(item: Item, delivery: Delivery): Entry {
    const known = this.entries.get(item);
    if (known && JSON.stringify(known.delivery) === JSON.stringify(delivery)) return known;
    const { uid, id, text, created: timestamp } = item;
    const key = messageKey(uid, id);
    const entry = { key, id, uid, name: this.me().name, text, timestamp, at: null, delivery };
    this.entries.set(item, entry);
    return entry;
  }
}

/** Its attempts fail, and the messages after it wait. */
function hasProblem(delivery: Delivery): boolean {
  const isTried = delivery.state === "queued" || delivery.state === "sending";
  return isTried && delivery.problem !== null;
}
