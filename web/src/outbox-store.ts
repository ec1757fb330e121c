import { type DBSchema, type IDBPDatabase, openDB } from "idb";
import type { Place } from "./place";

/** A message that is not accepted yet, as it outlives a reload. */
export interface Item {
  readonly uid: string;
  /** A UUIDv7: items sort by it in the order in which they were written. */
  readonly id: string;
  readonly place: Place;
  readonly text: string;
  /** ms since 1970. */
  readonly created: number;
  /** Why it is not sent by itself any more; null while it waits for its turn. */
  readonly refused: { readonly reason: string; readonly conflict: boolean } | null;
}

/** Where items lie: one store for all tabs of a browser. */
export interface Store {
  all(uid: string): Promise<Item[]>;
  put(item: Item): Promise<void>;
  /** Changes an item, unless another tab has taken it out meanwhile. */
  change(item: Item): Promise<void>;
  remove(uid: string, id: string): Promise<void>;
}

/** IndexedDB; or, in a browser that has none for this page, the memory of this tab. */
export async function openStore(): Promise<Store> {
  // Some browsers neither open nor refuse it, and nobody shall wait for that to log in.
  const late = new Promise<null>((resolve) => setTimeout(resolve, OPEN_MS, null));
  const db = await Promise.race([open(), late]).catch(() => null);
  return db ? new Kept(db) : new Remembered();
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

class Kept implements Store {
  constructor(private readonly db: IDBPDatabase<Schema>) {}

  all(uid: string) {
    return this.db.getAll("outbox", IDBKeyRange.bound([uid], [uid, []]));
  }

  async put(item: Item) {
    await this.db.put("outbox", item);
  }

  async change(item: Item) {
    const { store, done } = this.db.transaction("outbox", "readwrite");
    if (await store.get([item.uid, item.id])) await store.put(item);
    await done;
  }

  async remove(uid: string, id: string) {
    await this.db.delete("outbox", [uid, id]);
  }
}

class Remembered implements Store {
  private readonly items = new Map<string, Item>();

  async all(uid: string) {
    const own = [...this.items.values()].filter((item) => item.uid === uid);
    return own.sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  async put(item: Item) {
    this.items.set(`${item.uid}/${item.id}`, item);
  }

  async change(item: Item) {
    if (this.items.has(`${item.uid}/${item.id}`)) await this.put(item);
  }

  async remove(uid: string, id: string) {
    this.items.delete(`${uid}/${id}`);
  }
}
