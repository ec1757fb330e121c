import type { Connection } from "../../net/connection";
import type { Credentials } from "../../net/dial";
import type { Session } from "../storage/session";
import type { SignIn } from "./sign-in";

/** A local user. The password serves for one connection; from then on they hold a session token. */
export class LocalSignIn implements SignIn {
  private isOver = false;

  constructor(
    private held: Credentials,
    private readonly stored: Session,
  ) {}

  async credentials() {
    return this.held;
  }

  renew() {
    return false;
  }

  async up(connection: Connection) {
    if (this.held.kind === "password") {
      // Without a token, reconnecting needs the password again, and a reload asks for it.
      const session = await connection.session().catch(() => null);
      if (session) this.held = { kind: "token", uid: this.held.uid, ...session };
    }
    if (this.isOver || this.held.kind !== "token") return;
    const { token, expires } = this.held;
    this.stored.remember({ me: connection.me, token: { token, expires } });
  }

  stop() {
    this.isOver = true;
  }

  async end() {}
}
