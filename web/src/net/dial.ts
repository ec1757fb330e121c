import { AuthorizationError, errors, type NatsConnection, wsconnect } from "@nats-io/nats-core";
import { NoConnection } from "./failure";

/** The login, until there are tokens. */
export interface Credentials {
  readonly user: string;
  readonly password: string;
}

/** How long an attempt may take. */
export const CONNECT_MS = 5_000;

/** User names by the service's rule; only such a name is put into an inbox prefix. */
const USER = /^[a-z0-9_-]{1,32}$/;

const PROBE_MS = 3_000;

export interface Opened {
  readonly nats: NatsConnection;
  /** The socket of the connection, to notice all incoming data. */
  readonly socket: WebSocket;
}

export async function dial(url: string, credentials: Credentials): Promise<Opened> {
  if (!USER.test(credentials.user)) throw wrongPassword();
  try {
    return await attempt(url, credentials);
  } catch (error) {
    if (error instanceof NoConnection) throw error;
  }
  if (!(await answers(url))) throw away();
  try {
    // The server may have started since the first attempt.
    return await attempt(url, credentials);
  } catch (error) {
    if (error instanceof NoConnection) throw error;
    const said = `The chat server is there, but takes no connection from ${location.origin}. Open the page under the address that its administrator gave you.`;
    throw new NoConnection("refused", said);
  }
}

/** Throws a `NoConnection` if the server gave a reason, or did not answer in time. */
async function attempt(url: string, { user, password }: Credentials): Promise<Opened> {
  const socket = new WebSocket(url);
  try {
    const nats = await wsconnect({
      servers: url,
      wsFactory: async () => ({ socket, encrypted: url.startsWith("wss:") }),
      user,
      pass: password,
      name: "chat page",
      // The only inbox that this person may subscribe to.
      inboxPrefix: `_INBOX.u.${user}`,
      timeout: CONNECT_MS,
      reconnect: false,
      ignoreClusterUpdates: true,
      noAsyncTraces: true,
    });
    return { nats, socket };
  } catch (error) {
    if (error instanceof errors.TimeoutError) throw away();
    if (error instanceof AuthorizationError && /authorization violation/i.test(error.message)) {
      throw wrongPassword();
    }
    if (error instanceof errors.ProtocolError || error instanceof AuthorizationError) {
      throw new NoConnection("refused", `The chat server refused the connection: ${error.message}`);
    }
    throw error;
  }
}

function wrongPassword(): NoConnection {
  return new NoConnection("wrong-password", "The user name or the password is wrong.");
}

function away(): NoConnection {
  const said = "The chat server does not answer. Check the network, or try again in a moment.";
  return new NoConnection("away", said);
}

/**
 * Whether anything answers at the address. A script cannot see whether a WebSocket failed because
 * nothing listens or because it was refused, as nats-server does with another origin. A plain
 * request tells: its response is unreadable, but that it came is known.
 */
async function answers(url: string): Promise<boolean> {
  try {
    const signal = AbortSignal.timeout(PROBE_MS);
    await fetch(url.replace(/^ws/, "http"), { mode: "no-cors", cache: "no-store", signal });
    return true;
  } catch {
    return false;
  }
}
