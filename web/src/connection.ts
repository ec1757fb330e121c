import {
  AuthorizationError,
  errors,
  headers,
  type Msg,
  type NatsConnection,
  wsconnect,
} from "@nats-io/nats-core";
import { Failure, NoConnection, sentence } from "./failure";
import { type Live, readLive, readPage } from "./message";
import { readMe, type UserInfo } from "./permissions";
import { isRoomName, type Place, readPosition } from "./place";
import { Pulse } from "./pulse";
import type { Answer, Question } from "./room";
import type { Me } from "./view";

/** How one logs in, until there are tokens. */
export interface Credentials {
  readonly user: string;
  readonly password: string;
}

/** What `send` answers: the message is in the log. */
export interface Sent {
  readonly id: string;
  readonly seq: number;
  readonly timestamp: number;
}

/**
 * One connection to the server, from its beginning to its end: this file is the only one that
 * knows NATS. It never connects again by itself: nats-core would do so and lose without a word
 * what was being sent, while `link.ts` begins anew and everybody asks again what they missed.
 */
export interface Connection {
  readonly me: Me;
  /** Resolves once the connection has ended, whoever ended it. */
  readonly ended: Promise<void>;
  /**
   * Hears a room's live messages. Resolves once the server has the subscription: every message
   * stored from then on is heard, so history that is asked for now leaves no gap before them.
   * `ended`: the server has taken the subscription away, as it does with a right.
   */
  join(place: Place, heard: Heard, ended: () => void): Promise<Leave>;
  history(place: Place, question: Question, traceparent?: string): Promise<Answer>;
  send(place: Place, draft: { id: string; text: string }, traceparent?: string): Promise<Sent>;
  /** Asks for a sign of life now. The connection ends where none comes. */
  probe(): void;
  close(): void;
}

export type Heard = (live: Live, traceparent: string | null) => void;
export type Leave = () => void;

/** Connects and logs in. Throws a `NoConnection`. */
export async function connect(url: string, credentials: Credentials): Promise<Connection> {
  const { nats, socket } = await open(url, credentials);
  try {
    const answer = await nats.request("$SYS.REQ.USER.INFO", "", { timeout: CONNECT_MS });
    const me = readMe(answer.json<{ data?: UserInfo }>().data ?? {});
    if (!me) throw new Failure("forbidden", "It may read no room.");
    return new Joined(nats, socket, me);
  } catch (error) {
    const isAway = nats.isClosed() || error instanceof errors.TimeoutError;
    nats.close().catch(() => {});
    if (isAway) throw new NoConnection("away", "The chat server went away. Try again in a moment.");
    throw new NoConnection("refused", "This login is not for people: it may read no room.");
  }
}

/** Local names by the service's rule. What is none is not put into the name of an inbox. */
const USER = /^[a-z0-9_-]{1,32}$/;

const CONNECT_MS = 5_000;

/** A little more than the deadline of the functions: the service's own answer comes first. */
const REQUEST_MS = 6_000;

const PROBE_MS = 3_000;

/** Rows of a page: what fills a screen first, and then much at once. */
const LIMITS = { last: 50, after: 200, before: 100 } as const;

interface Opened {
  readonly nats: NatsConnection;
  /** What it goes through, to hear of each byte that comes. */
  readonly socket: WebSocket;
}

async function open(url: string, credentials: Credentials): Promise<Opened> {
  if (!USER.test(credentials.user)) throw wrongPassword();
  try {
    return await dial(url, credentials);
  } catch (error) {
    if (error instanceof NoConnection) throw error;
  }
  if (!(await answers(url))) throw away();
  try {
    // Since the first try it may have come up.
    return await dial(url, credentials);
  } catch (error) {
    if (error instanceof NoConnection) throw error;
    const said = `The chat server is there, but takes no connection from ${location.origin}. Open the page under the address that its administrator gave you.`;
    throw new NoConnection("refused", said);
  }
}

/** Throws a `NoConnection` where the server said why, or said nothing for too long. */
async function dial(url: string, { user, password }: Credentials): Promise<Opened> {
  const socket = new WebSocket(url);
  try {
    const nats = await wsconnect({
      servers: url,
      wsFactory: async () => ({ socket, encrypted: url.startsWith("wss:") }),
      user,
      pass: password,
      name: "chat page",
      // The only inbox that this person may subscribe.
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
 * A browser does not tell a script whether a WebSocket failed because nobody is there or because
 * it was refused, as nats-server does with the page of another origin. A plain request tells: its
 * answer may not be read, but that there is one may be known.
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

class Joined implements Connection {
  readonly ended: Promise<void>;
  private end: () => void = () => {};
  private isOver = false;
  private readonly pulse: Pulse;

  constructor(
    private readonly nats: NatsConnection,
    socket: WebSocket,
    readonly me: Me,
  ) {
    const ping = () => void nats.flush().catch(() => {});
    this.pulse = new Pulse(
      ping,
      () => this.close(),
      () => document.visibilityState === "visible",
    );
    socket.addEventListener("message", () => {
      if (!this.isOver) this.pulse.heard();
    });
    this.ended = new Promise((resolve) => {
      this.end = () => {
        this.isOver = true;
        this.pulse.stop();
        resolve();
      };
    });
    nats.closed().then(this.end);
  }

  async join(place: Place, heard: Heard, ended: () => void) {
    const subscription = this.nats.subscribe(subject("live", place), {
      callback: (error, msg) => {
        if (error || this.isOver) return;
        const live = readLive(place, text(msg), (name) => header(msg, name));
        if (live) heard(live, header(msg, "traceparent") ?? null);
      },
    });
    await this.unlessLost(this.nats.flush());
    // The server's refusal comes before its answer to the flush.
    if (subscription.isClosed()) throw forbidden();
    // Without a reason it was closed by this page, or with the connection.
    void subscription.closed.then((why) => why && ended());
    return () => {
      if (!this.isOver) subscription.unsubscribe();
    };
  }

  async history(place: Place, question: Question, traceparent?: string): Promise<Answer> {
    const { type, ...positions } = question;
    const asked = { ...positions, limit: LIMITS[type] };
    const msg = await this.request(subject("history", place), asked, traceparent);
    const head = readPosition(header(msg, "History-Head") ?? "");
    if (!head) throw new Failure("refused", "History does not say up to where it knows the room.");
    return { rows: readPage(text(msg)), more: header(msg, "History-More") === "true", head };
  }

  async send(place: Place, draft: { id: string; text: string }, traceparent?: string) {
    const msg = await this.request(subject("send", place), draft, traceparent);
    return msg.json<Sent>();
  }

  probe() {
    if (!this.isOver) this.pulse.check();
  }

  close() {
    // A socket into a dead network takes its time to close. For everybody else it is over now.
    this.end();
    this.nats.close().catch(() => {});
  }

  private async request(to: string, body: unknown, traceparent?: string): Promise<Msg> {
    const sent = headers();
    if (traceparent) sent.set("traceparent", traceparent);
    const options = { timeout: REQUEST_MS, headers: sent };
    const msg = await this.unlessLost(
      this.nats.request(to, JSON.stringify(body), options).catch((error) => {
        throw this.failure(error);
      }),
    );
    const code = header(msg, "Nats-Service-Error-Code");
    if (code) throw refusal(Number(code), msg);
    return msg;
  }

  private failure(error: unknown): Failure {
    if (this.isOver || this.nats.isClosed()) return lost();
    const why = error instanceof errors.RequestError ? (error.cause ?? error) : error;
    if (why instanceof errors.PermissionViolationError) return forbidden();
    if (why instanceof errors.InvalidArgumentError) {
      return new Failure("refused", "This is more than the server takes at once.", 413);
    }
    if (why instanceof errors.NoRespondersError) {
      return new Failure("away", "Nobody serves this at the moment.");
    }
    if (why instanceof errors.TimeoutError) {
      // Perhaps it is the network that is gone, and not who should have answered.
      this.probe();
      return new Failure("away", "No answer came in time.");
    }
    return new Failure("refused", sentence(why), 500);
  }

  private unlessLost<T>(answer: Promise<T>): Promise<T> {
    const end = this.ended.then(() => {
      throw lost();
    });
    end.catch(() => {});
    return Promise.race([answer, end]);
  }
}

/** Every subject with a room in it is made here, and of a room's name only. */
function subject(verb: "live" | "history" | "send", { realm, room }: Place): string {
  if (!isRoomName(room)) throw new Failure("refused", "No room can have this name.", 400);
  return verb === "live" ? `live.${realm}.${room}` : `${realm}.${verb}.${room}`;
}

function text(msg: Msg): string {
  return new TextDecoder().decode(msg.data);
}

function header(msg: Msg, name: string): string | undefined {
  return msg.headers?.has(name) ? msg.headers.get(name) : undefined;
}

function refusal(code: number, msg: Msg): Failure {
  const said = header(msg, "Nats-Service-Error") ?? "";
  let wait: unknown = null;
  try {
    wait = msg.json<{ details?: { retry_after_ms?: unknown } }>().details?.retry_after_ms;
  } catch {
    // The headers say what is needed.
  }
  return new Failure("refused", said, code, typeof wait === "number" ? wait : null);
}

function forbidden(): Failure {
  return new Failure("forbidden", "You may not do this here.", 403);
}

function lost(): Failure {
  return new Failure("lost", "The connection was lost.");
}
