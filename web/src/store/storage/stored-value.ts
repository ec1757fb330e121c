import type { KeyValueStorage } from "./storage";

/** A small value of a person, stored for all tabs; if it cannot be, this tab remembers it. */
export class StoredValue<T extends object> {
  private value: T;
  private isStored = true;
  private readonly key: string;

  constructor(
    private readonly storage: KeyValueStorage,
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

  /** Changes the stored value, which another tab may have changed without this one knowing yet. */
  change(next: (now: T) => T) {
    this.value = next(this.isStored ? this.read() : this.value);
    try {
      this.storage.setItem(this.key, JSON.stringify(this.value));
      this.isStored = true;
    } catch {
      // Full, or blocked: this tab remembers it.
      this.isStored = false;
    }
  }

  /** Reads the value again if another tab has written it. Returns whether it has. */
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
