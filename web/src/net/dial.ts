import { AuthorizationError, errors, type NatsConnection, wsconnect } from "@nats-io/nats-core";
import { NoConnection, signInAway } from "./failure";

/** What a connection logs in with; `uid` is part of the only inbox that the person may subscribe to. */
export type Credentials =
  | { readonly kind: "password"; readonly uid: string; readonly password: string }
  | ({ readonly kind: "token"; readonly uid: string } & Token);

/** Proves who somebody is, for a while. */
export interface Token {
  readonly token: string;
  /** In ms since 1970, by this machine's clock or the server's. */
  readonly expires: number;
}

/** How long an attempt may take. */
export const CONNECT_MS = 5_000;

/** User names by the service's rule, and those of providers; only such a one is put into an inbox prefix. */
const UID = { password: /^[a-z0-9_-]{1,32}$/, token: /^[A-Za-z0-9_-]{1,62}$/ };

const PROBE_MS = 3_000;

/** Two clocks that differ by no more than this agree: what is said names the minute. */
const CLOCKS_MS = 60_000;

/**
 * If whoever is to decide about a login does not answer, nats-server refuses it as it refuses a wrong
 * password, but only after `authorization.timeout`, which is 2 s. A decision takes much less.
 */
const UNDECIDED_MS = 1_900;

export interface Opened {
  readonly nats: NatsConnection;
  /** The socket of the connection, to notice all incoming data. */
  readonly socket: WebSocket;
}

export async function dial(url: string, credentials: Credentials): Promise<Opened> {
  if (!UID[credentials.kind].test(credentials.uid)) throw unknown(credentials);
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
async function attempt(url: string, credentials: Credentials): Promise<Opened> {
  const socket = new WebSocket(url);
  let opened = Number.NaN;
  socket.addEventListener("open", () => {
    opened = performance.now();
  });
  try {
    const nats = await wsconnect({
      servers: url,
      wsFactory: async () => ({ socket, encrypted: url.startsWith("wss:") }),
      ...(credentials.kind === "password"
        ? { user: credentials.uid, pass: credentials.password }
        : { token: credentials.token }),
      name: "chat page",
      // The only inbox that this person may subscribe to.
      inboxPrefix: `_INBOX.u.${credentials.uid}`,
      timeout: CONNECT_MS,
      reconnect: false,
      ignoreClusterUpdates: true,
      noAsyncTraces: true,
    });
    return { nats, socket };
  } catch (error) {
    if (error instanceof errors.TimeoutError) throw away();
    if (error instanceof errors.UserAuthenticationExpiredError) throw unknown(credentials);
    if (error instanceof AuthorizationError) {
      const isDecided = !(performance.now() - opened >= UNDECIDED_MS);
      if (/authentication timeout/i.test(error.message) || !isDecided) throw signInAway();
      if (/authorization violation/i.test(error.message)) throw unknown(credentials);
    }
    if (error instanceof errors.ProtocolError || error instanceof AuthorizationError) {
      throw new NoConnection("refused", `The chat server refused the connection: ${error.message}`);
    }
    throw error;
  }
}

/** The server does not know these credentials, and says no more than that. */
function unknown(credentials: Credentials): NoConnection {
  if (credentials.kind === "password") {
    return new NoConnection("wrong-password", "The user name or the password is wrong.");
  }
  const { expires } = credentials;
  const time = new Date(expires).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  const said =
    expires <= Date.now() + CLOCKS_MS
      ? `Your session ended at ${time}. Log in again.`
      : `The chat server no longer accepts your session, though by this machine's clock it lasts until ${time}. Log in again.`;
  return new NoConnection("session-ended", said);
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
