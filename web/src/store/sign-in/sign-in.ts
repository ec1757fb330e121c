import { type Connection, connect } from "../../net/connection";
import type { Credentials } from "../../net/dial";
import { NoConnection } from "../../net/failure";

/** How one person proves who they are, to one connection after the other. */
export interface SignIn {
  /** For the next connection. Throws a `NoConnection`. */
  credentials(): Promise<Credentials>;
  /** The server has refused them. Returns whether it is worth trying with newer ones. */
  renew(): boolean;
  /** A connection is open: remembers the person for a reload of the page. */
  up(connection: Connection): void;
  /** Their last connection has ended. */
  stop(): void;
  /** They log out. Throws a `NoConnection`. */
  end(): Promise<void>;
}

/** Connects as this person. Throws a `NoConnection`. */
export async function connectAs(signIn: SignIn, url: string): Promise<Connection> {
  try {
    return await connect(url, await signIn.credentials());
  } catch (error) {
    const isRefused = error instanceof NoConnection && error.kind === "session-ended";
    if (!isRefused || !signIn.renew()) throw error;
    return connect(url, await signIn.credentials());
  }
}
