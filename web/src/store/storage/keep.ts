import type { Kept } from "./storage";

/**
 * Something small that a browser keeps for a person, shared by its tabs. A browser that keeps
 * nothing still remembers it for this tab.
 */
export class Keep<T extends object> {
  private value: T;
  private isStored = true;
  private readonly key: string;

  constructor(
    private readonly storage: Kept,
    name: string,
    uid: string,
    private readonly empty: T,
  ) {
    this.key = `chat.${name}.${uid}`;
    this.value = this.read();
  }

  get(): T {
    return this.value;
  }

  /** Changes what there is now, by whichever tab: its news of that may still be on its way. */
  change(next: (now: T) => T) {
    this.value = next(this.isStored ? this.read() : this.value);
    try {
      this.storage.setItem(this.key, JSON.stringify(this.value));
      this.isStored = true;
    } catch {
      // Full, or forbidden: this tab remembers.
      this.isStored = false;
    }
  }

  /** Takes over what another tab has written. True where that was this. */
  heard(event: StorageEvent): boolean {
    if (event.key !== this.key) return false;
    this.value = this.read();
    return true;
  }

  private read(): T {
    try {
      const value: unknown = JSON.parse(this.storage.getItem(this.key) ?? "null");
      const isSame = Array.isArray(value) === Array.isArray(this.empty);
      return typeof value === "object" && value !== null && isSame ? (value as T) : this.empty;
    } catch {
      return this.empty;
    }
  }
}
