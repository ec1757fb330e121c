/** The part of the Storage API that the page uses. */
export type KeyValueStorage = Pick<Storage, "getItem" | "setItem" | "removeItem">;

/** In memory, for a browser that blocks site data. */
class MemoryStorage implements KeyValueStorage {
  private readonly items = new Map<string, string>();

  getItem(key: string) {
    return this.items.get(key) ?? null;
  }

  setItem(key: string, value: string) {
    this.items.set(key, value);
  }

  removeItem(key: string) {
    this.items.delete(key);
  }
}

/** A browser's storage, or memory: with blocked cookies even accessing `localStorage` throws. */
export function opened(storage: () => KeyValueStorage): KeyValueStorage {
  try {
    const found = storage();
    found.getItem("");
    return found;
  } catch {
    return new MemoryStorage();
  }
}

/** Whether its items survive a reload. */
export function outlives(storage: KeyValueStorage): boolean {
  return !(storage instanceof MemoryStorage);
}

export const forPerson = opened(() => localStorage);
export const forTab = opened(() => sessionStorage);
