import { type DBSchema, type IDBPDatabase, openDB } from "idb";
import type { Place } from "../../model/place";

/** An unsent message, as it is stored. */
export interface Item {
  readonly uid: string;
  /** A UUIDv7: sorting by it gives the order in which items were written. */
  readonly id: string;
  readonly place: Place;
  readonly text: string;
  /** ms since 1970. */
  readonly created: number;
  /** Why it is not sent automatically; null while it waits for its turn. */
  readonly refused: { readonly reason: string; readonly conflict: boolean } | null;
}

/** Where items are stored, for all tabs of a browser. */
export interface OutboxStore {
  /** Whether items survive a reload. */
  readonly outlives: boolean;
  all(uid: string): Promise<Item[]>;
  put(item: Item): Promise<void>;
  /** Changes an item, unless another tab has removed it meanwhile. */
  change(item: Item): Promise<void>;
  remove(uid: string, id: string): Promise<void>;
}

/** IndexedDB, or memory if the browser has none for this page. */
export async function openOutboxStore(): Promise<OutboxStore> {
  // Some browsers neither open nor refuse it, and the login must not wait for that.
  const late = new Promise<null>((resolve) => setTimeout(resolve, OPEN_MS, null));
  const db = await Promise.race([open(), late]).catch(() => null);
  return db ? new IndexedDbOutbox(db) : new MemoryOutbox();
}

const OPEN_MS = 3_000;

async function open() {
  return openDB<Schema>("chat", 1, {
    upgrade(db) {
      db.createObjectStore("outbox", { keyPath: ["uid", "id"] });
    },
  });
}

interface Schema extends DBSchema {
  outbox: { key: [string, string]; value: Item };
}

type Db = IDBPDatabase<Schema>;

class IndexedDbOutbox implements OutboxStore {
  readonly outlives = true;
  /** What this tab knows to be stored: a browser may delete the database while the page is open. */
  private readonly known = new Map<string, Item>();
  private opening: Promise<Db> | null = null;

  constructor(private db: Db) {}

  async all(uid: string) {
    const items = await this.with((db) => db.getAll("outbox", range(uid)));
    for (const [key, item] of this.known) if (item.uid === uid) this.known.delete(key);
    for (const item of items) this.known.set(nameOf(item), item);
    return items;
  }

  async put(item: Item) {
    await this.with((db) => db.put("outbox", item));
    this.known.set(nameOf(item), item);
  }

  async change(item: Item) {
    await this.with(async (db) => {
      const { store, done } = db.transaction("outbox", "readwrite");
      if (await store.getKey([item.uid, item.id])) await store.put(item);
      await done;
    });
  }

  async remove(uid: string, id: string) {
    this.known.delete(nameOf({ uid, id }));
    await this.with((db) => db.delete("outbox", [uid, id]));
  }

  /** Reopens the database if the browser has closed it, and tries once more. */
  private async with<T>(work: (db: Db) => Promise<T>): Promise<T> {
    const { db } = this;
    try {
      return await work(db);
    } catch (error) {
      const isClosed = error instanceof DOMException && error.name === "InvalidStateError";
      if (!isClosed) throw error;
      if (db === this.db) {
        this.opening ??= this.openAgain().finally(() => {
          this.opening = null;
        });
        await this.opening;
      }
      return work(this.db);
    }
  }

  private async openAgain() {
    const db = await open();
    const { store, done } = db.transaction("outbox", "readwrite");
    for (const item of this.known.values()) {
      if (!(await store.getKey([item.uid, item.id]))) await store.put(item);
    }
    await done;
    this.db = db;
    return db;
  }
}

function range(uid: string): IDBKeyRange {
  return IDBKeyRange.bound([uid], [uid, []]);
}

class MemoryOutbox implements OutboxStore {
  readonly outlives = false;
  private readonly items = new Map<string, Item>();

  async all(uid: string) {
    const own = [...this.items.values()].filter((item) => item.uid === uid);
    return own.sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  async put(item: Item) {
    this.items.set(nameOf(item), item);
  }

  async change(item: Item) {
    if (this.items.has(nameOf(item))) await this.put(item);
  }

  async remove(uid: string, id: string) {
    this.items.delete(nameOf({ uid, id }));
  }
}

function nameOf({ uid, id }: Pick<Item, "uid" | "id">): string {
  return `${uid}/${id}`;
}
