import type { Me } from "../../model/me";
import type { Token } from "../../net/dial";
import type { Pending } from "../../net/sign-in/tokens";
import { type KeyValueStorage, outlives } from "./storage";

/** The logged-in person, as this tab remembers them. */
export interface Remembered {
  /** As of the last connection, for a page that is reloaded in an outage. */
  readonly me: Me;
  /** A session token of a local user. Null after a sign-in at a provider, which knows them itself. */
  readonly token: Token | null;
}

/** A sign-in that goes on at the provider, and where in the page it began. */
export interface Away extends Pending {
  readonly hash: string;
}

/**
 * The stored login. The only file that knows what is stored: enough that a reload does not ask again,
 * but neither a password nor a token of a provider.
 */
export class Session {
  constructor(private readonly storage: KeyValueStorage) {}

  remembered(): Remembered | null {
    const said = this.read<Remembered>(KEY);
    const isWhole = typeof said?.me?.uid === "string" && said.me.uid !== "";
    return isWhole && (said.token === null || typeof said.token?.token === "string") ? said : null;
  }

  remember(remembered: Remembered) {
    this.write(KEY, remembered);
  }

  forget() {
    this.storage.removeItem(KEY);
  }

  /** Whether it is still there after the browser has been at another page. */
  get outlives(): boolean {
    return outlives(this.storage);
  }

  /** Leaves for the provider. */
  leave(away: Away) {
    this.write(AWAY, away);
  }

  /** What `leave` wrote, once. */
  back(): Away | null {
    const away = this.read<Away>(AWAY);
    this.storage.removeItem(AWAY);
    return typeof away?.state === "string" ? away : null;
  }

  private read<T>(key: string): (Partial<T> & T) | null {
    try {
      return JSON.parse(this.storage.getItem(key) ?? "null");
    } catch {
      return null;
    }
  }

  private write(key: string, value: object) {
    try {
      this.storage.setItem(key, JSON.stringify(value));
    } catch {
      // A reload will ask again.
    }
  }
}

const KEY = "chat.session";
const AWAY = "chat.sign-in";
