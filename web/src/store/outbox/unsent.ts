import type { Delivery } from "../../model/message";
import type { Item } from "./outbox-store";

/** The unsent messages that one tab knows: those in the store, and its own. */
export class Unsent {
  /** In the order in which they were written. */
  items: readonly Item[] = [];
  private readonly deliveries = new Map<string, Delivery>();
  /** Shown, but not stored, or not yet. */
  private readonly unwritten = new Map<string, Item>();
  /** Acknowledged or discarded; an older read of the store may still contain it. */
  private readonly gone = new Set<string>();

  constructor(private readonly changed: () => void) {}

  find(id: string): Item | undefined {
    return this.items.find((item) => item.id === id);
  }

  delivery(item: Item): Delivery {
    if (item.refused) return { state: "failed", reason: item.refused.reason };
    return this.deliveries.get(item.id) ?? QUEUED;
  }

  /** Shows a stored item. */
  show(item: Item) {
    this.items = [...this.items.filter(({ id }) => id !== item.id), item].sort(byId);
    this.changed();
  }

  /** The store does not have it, or not yet: it lives as long as this tab. */
  hold(item: Item) {
    this.unwritten.set(item.id, item);
    this.show(item);
  }

  written(id: string) {
    this.unwritten.delete(id);
  }

  isWritten({ id }: Item): boolean {
    return !this.unwritten.has(id);
  }

  deliver(id: string, delivery: Delivery) {
    if (this.gone.has(id)) return;
    this.deliveries.set(id, delivery);
    this.changed();
  }

  /** Drops its delivery state. */
  forget(id: string) {
    this.deliveries.delete(id);
  }

  hide(id: string) {
    this.gone.add(id);
    this.unwritten.delete(id);
    this.deliveries.delete(id);
    this.items = this.items.filter((item) => item.id !== id);
    this.changed();
  }

  /** Applies what the store has now. Returns whether something is gone. */
  read(kept: readonly Item[]): boolean {
    const before = this.items;
    const written = kept.filter((item) => this.isWritten(item) && !this.gone.has(item.id));
    this.items = [...written, ...this.unwritten.values()].sort(byId);
    this.changed();
    return before.some(({ id }) => !this.find(id));
  }

  /** The first stored message that is to be sent. */
  next(kept: readonly Item[]): Item | undefined {
    const isOver = ({ id }: Item) => this.gone.has(id) || this.unwritten.get(id)?.refused;
    return kept.find((item) => !item.refused && !isOver(item));
  }
}

export const QUEUED: Delivery = { state: "queued", problem: null, until: null };

function byId(a: Item, b: Item): number {
  return a.id < b.id ? -1 : a.id > b.id ? 1 : 0;
}
