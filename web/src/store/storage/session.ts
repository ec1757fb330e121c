import type { Me } from "../../model/me";
import type { Credentials } from "../../net/dial";
import type { KeyValueStorage } from "./storage";

/** The logged-in person, as this tab remembers them. */
export interface Remembered {
  readonly credentials: Credentials;
  /** As of the last connection, for a page that is reloaded in an outage. */
  readonly me: Me;
}

/**
 * The stored login. The only file that knows what is stored: today name and password, so that a
 * reload does not ask again. Short-lived tokens will replace the password.
 */
export class Session {
  constructor(private readonly storage: KeyValueStorage) {}

  remembered(): Remembered | null {
    try {
      const said = JSON.parse(this.storage.getItem(KEY) ?? "null") as Remembered | null;
      const isWhole = typeof said?.credentials.password === "string" && said.me.uid !== "";
      return isWhole ? said : null;
    } catch {
      return null;
    }
  }

  remember(remembered: Remembered) {
    try {
      this.storage.setItem(KEY, JSON.stringify(remembered));
    } catch {
      // A reload will ask for the password again.
    }
  }

  forget() {
    this.storage.removeItem(KEY);
  }
}

const KEY = "chat.session";
