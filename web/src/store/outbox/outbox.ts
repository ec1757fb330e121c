import type { Delivery } from "../../model/message";
import type { Place } from "../../model/place";
import { uuidv7 } from "../../model/uuid";
import type { Sent } from "../../net/connection";
import type { Item, OutboxStore } from "./outbox-store";
import type { Tabs } from "./tabs";
import { QUEUED, Unsent } from "./unsent";
import { judge, notKept, type Verdict } from "./verdict";

/** What one tab's outbox reports to the others. */
export type OutboxNews =
  | { readonly type: "changed" }
  | { readonly type: "delivery"; readonly id: string; readonly delivery: Delivery }
  | { readonly type: "acked"; readonly item: Item; readonly sent: Sent };

export interface OutboxEvents {
  changed(): void;
  /** The message is stored, and survives a reload. */
  written(item: Item): void;
  /** The message is in the log, and no longer in `items`. */
  acked(item: Item, sent: Sent): void;
}

type Send = (item: Item) => Promise<Sent>;

/**
 * A person's unsent messages. Each is stored before it is sent, under an id that all attempts
 * share, and is removed when it is in the log or the person discards it: messages written in an
 * outage, or before a reload, arrive once and in order. All tabs share the items; one tab at a time
 * sends them, one message at a time.
 */
export class Outbox {
  private readonly unsent: Unsent;
  private readonly tries = new Map<string, number>();
  private readonly tabs: Tabs<OutboxNews>;
  private send: Send | null = null;
  private isSending = false;
  private hasMore = false;
  private isClosed = false;
  private wake: () => void = () => {};

  constructor(
    private readonly uid: string,
    private readonly store: OutboxStore,
    private readonly events: OutboxEvents,
    open: (heard: (news: OutboxNews) => void) => Tabs<OutboxNews>,
  ) {
    this.unsent = new Unsent(() => events.changed());
    this.tabs = open((news) => this.heard(news));
    void this.begin();
  }

  get items(): readonly Item[] {
    return this.unsent.items;
  }

  delivery(item: Item): Delivery {
    return this.unsent.delivery(item);
  }

  /** Sends waiting messages, now and from now on, until `offline`. */
  online(send: Send) {
    this.send = send;
    this.nudge();
  }

  offline() {
    this.send = null;
    this.wake();
  }

  close() {
    this.isClosed = true;
    this.offline();
    this.tabs.close();
  }

  add(place: Place, text: string): Item {
    const item = {
      uid: this.uid,
      id: uuidv7(),
      place,
      text,
      created: Date.now(),
      refused: null,
    };
    this.write(item);
    return item;
  }

  /** Retries at once. A message whose id was taken gets a new one. */
  retry(id: string) {
    const item = this.unsent.find(id);
    if (!item) return;
    this.unsent.forget(id);
    this.tries.delete(id);
    if (item.refused?.conflict) {
      this.drop(id);
      this.add(item.place, item.text);
      return;
    }
    this.write({ ...item, refused: null });
    this.wake();
  }

  discard(id: string) {
    const item = this.unsent.find(id);
    if (!item || this.delivery(item).state !== "sending") this.drop(id);
  }

  /** Its row was seen: it was accepted, and only the answer was lost. */
  seen(id: string) {
    this.discard(id);
  }

  private write(item: Item) {
    this.unsent.hold(item);
    this.store.put(item).then(
      () => {
        this.unsent.written(item.id);
        this.events.written(item);
        this.tabs.tell({ type: "changed" });
        this.nudge();
      },
      (error) =>
        this.unsent.hold({ ...item, refused: { reason: notKept(error), conflict: false } }),
    );
  }

  private drop(id: string) {
    this.hide(id);
    this.store.remove(this.uid, id).then(() => this.tabs.tell({ type: "changed" }), ignore);
    this.wake();
  }

  /** Sends waiting messages, if no other tab does. */
  private async nudge() {
    this.hasMore = true;
    if (this.isSending) return;
    this.isSending = true;
    for (let failures = 0; this.hasMore && this.send; ) {
      this.hasMore = false;
      try {
        await this.tabs.exclusively(() => this.sendAll());
        failures = 0;
      } catch {
        // The store could not be read: try again later.
        this.hasMore = true;
        await this.pause(retryPause(failures));
        failures += 1;
      }
    }
    this.isSending = false;
  }

  private async sendAll() {
    while (this.send) {
      const waiting = await this.store.all(this.uid);
      const next = this.unsent.next(waiting);
      if (!next) return;
      await this.sendOne(next, this.send);
    }
  }

  private async sendOne(item: Item, send: Send) {
    const before = this.delivery(item);
    // The problem stays shown during the next attempt: nobody can read a text that flickers.
    const problem = before.state === "queued" ? before.problem : null;
    this.deliver(item, { state: "sending", problem });
    try {
      const sent = await send(item);
      await this.store.remove(this.uid, item.id).catch(ignore);
      this.tabs.tell({ type: "acked", item, sent });
      this.acked(item, sent);
    } catch (error) {
      const tries = this.tries.get(item.id) ?? 0;
      this.tries.set(item.id, tries + 1);
      await this.judged(item, judge(error, tries), send);
    }
  }

  private async judged(item: Item, verdict: Verdict, send: Send) {
    switch (verdict.type) {
      case "offline":
        this.deliver(item, QUEUED);
        if (this.send === send) this.send = null;
        return;
      case "again": {
        const until = Date.now() + verdict.wait;
        this.deliver(item, { state: "queued", problem: verdict.problem, until });
        return this.pause(verdict.wait);
      }
      case "failed": {
        const { reason, conflict } = verdict;
        const refused = { ...item, refused: { reason, conflict } };
        this.unsent.forget(item.id);
        await this.store.change(refused).then(
          () => this.unsent.show(refused),
          () => this.unsent.hold(refused),
        );
        this.tabs.tell({ type: "changed" });
      }
    }
  }

  /** Ends early when something changes that matters to the sender. */
  private pause(wait: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, wait);
      this.wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  private heard(news: OutboxNews) {
    switch (news.type) {
      case "changed":
        return void this.reload();
      case "delivery":
        return this.unsent.deliver(news.id, news.delivery);
      case "acked":
        this.acked(news.item, news.sent);
    }
  }

  private acked(item: Item, sent: Sent) {
    this.events.acked(item, sent);
    this.hide(item.id);
  }

  /** A page that was closed while it stored a message could not report `written`. */
  private async begin() {
    await this.reload();
    for (const item of this.items) if (this.unsent.isWritten(item)) this.events.written(item);
  }

  private async reload() {
    const kept = await this.read();
    if (!kept) return;
    // Another tab discarded one: perhaps the one that this tab is waiting to retry.
    if (this.unsent.read(kept)) this.wake();
    // The tab that wrote it may be closed.
    if (kept.some(({ refused }) => !refused)) void this.nudge();
  }

  /** Everything in the store, once it can be read; null if the outbox is closed first. */
  private async read(): Promise<Item[] | null> {
    for (let failures = 0; !this.isClosed; failures += 1) {
      try {
        return await this.store.all(this.uid);
      } catch {
        await new Promise((resolve) => setTimeout(resolve, retryPause(failures)));
      }
    }
    return null;
  }

  private deliver({ id }: Item, delivery: Delivery) {
    this.tabs.tell({ type: "delivery", id, delivery });
    this.unsent.deliver(id, delivery);
  }

  private hide(id: string) {
    this.tries.delete(id);
    this.unsent.hide(id);
  }
}

/** The pause before a store that could not be read is read again. */
function retryPause(failures: number): number {
  return Math.min(5_000, 250 * 2 ** Math.min(failures, 10));
}

function ignore() {}
