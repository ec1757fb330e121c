/** What the page uses of a browser's storage. */
export type Kept = Pick<Storage, "getItem" | "setItem" | "removeItem">;

/** The memory of this tab, for a browser that lets the page keep nothing. */
class Memory implements Kept {
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

/** A browser's storage. Where cookies are blocked, already to name it throws. */
export function opened(storage: () => Kept): Kept {
  try {
    const found = storage();
    found.getItem("");
    return found;
  } catch {
    return new Memory();
  }
}

/** Whether what is put there outlives a reload. */
export function outlives(storage: Kept): boolean {
  return !(storage instanceof Memory);
}

export const forPerson = opened(() => localStorage);
export const forTab = opened(() => sessionStorage);
