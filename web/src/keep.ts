/**
 * Something small that a browser keeps for a person, shared by its tabs. A browser that keeps
 * nothing still remembers it for this tab.
 */
export class Keep<T extends object> {
  private value: T;
  private readonly key: string;

  constructor(
    private readonly storage: Storage,
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

  set(value: T) {
    this.value = value;
    try {
      this.storage.setItem(this.key, JSON.stringify(value));
    } catch {
      // Full, or forbidden: this tab remembers.
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
