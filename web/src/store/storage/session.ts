import type { Me } from "../../model/me";
import type { Credentials } from "../../net/dial";
import type { Kept } from "./storage";

/** A person that is logged in, as this tab remembers it. */
export interface Remembered {
  readonly credentials: Credentials;
  /** Who that was at the last connection, for a page that is loaded anew in an outage. */
  readonly me: Me;
}

/**
 * Who is logged in. The only file that knows how: today with name and password, which the tab
 * keeps so that a reload asks for nothing. Short-lived tokens will take the password's place.
 */
export class Session {
  constructor(private readonly storage: Kept) {}

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
      // Then a reload asks for the password again.
    }
  }

  forget() {
    this.storage.removeItem(KEY);
  }
}

const KEY = "chat.session";
