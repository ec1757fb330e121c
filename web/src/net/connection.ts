import { errors, headers, type Msg, type NatsConnection } from "@nats-io/nats-core";
import type { Me } from "../model/me";
import type { Live } from "../model/message";
import { type Place, readPosition } from "../model/place";
import type { Answer, Question } from "../model/room";
import { CONNECT_MS, type Credentials, dial, type Token } from "./dial";
import { Failure, NoConnection, sentence } from "./failure";
import { readLive, readPage } from "./payload";
import { readMe, type UserInfo } from "./permissions";
import { Pulse } from "./pulse";
import { subject } from "./subjects";

/** The answer of `send`: the message is in the log. */
export interface Sent {
  readonly id: string;
  readonly seq: number;
  readonly timestamp: number;
}

/**
 * One connection to the server. It never reconnects: nats-core would silently drop what was being
 * sent. Instead `link.ts` opens a new connection, and every room asks for what it missed.
 */
export interface Connection {
  readonly me: Me;
  /** Resolves when the connection has ended: the session that it logged in with, or for any other reason. */
  readonly ended: Promise<"session" | "lost">;
  /**
   * Subscribes to a room's live messages. Resolves when the server has confirmed the subscription:
   * history that is asked for after that leaves no gap before the live messages. `ended`: the
   * server has ended the subscription, for instance because a permission was removed.
   */
  join(place: Place, heard: OnLive, ended: () => void): Promise<Leave>;
  history(place: Place, question: Question, traceparent?: string): Promise<Answer>;
  send(place: Place, draft: { id: string; text: string }, traceparent?: string): Promise<Sent>;
  /** A session token, for one that logged in with a password. */
  session(): Promise<Token>;
  /** Pings the server now. Without an answer the connection ends. */
  probe(): void;
  close(): void;
}

export type OnLive = (live: Live, traceparent: string | null) => void;
export type Leave = () => void;

/** Connects and logs in. Throws a `NoConnection`. */
export async function connect(url: string, credentials: Credentials): Promise<Connection> {
  const { nats, socket } = await dial(url, credentials);
  try {
    const answer = await nats.request("$SYS.REQ.USER.INFO", "", { timeout: CONNECT_MS });
    const me = readMe(answer.json<{ data?: UserInfo }>().data ?? {});
    if (!me) throw new Failure("forbidden", "It may read no room.");
    return new OpenConnection(nats, socket, me);
  } catch (error) {
    const isAway = nats.isClosed() || error instanceof errors.TimeoutError;
    nats.close().catch(() => {});
    if (isAway) throw new NoConnection("away", "The chat server went away. Try again in a moment.");
    throw new NoConnection("refused", "This login is not for people: it may read no room.");
  }
}

/** A little more than the functions' deadline, so that the service's own error comes first. */
const REQUEST_MS = 6_000;

/** Rows per page: first what fills a screen, then many at once. */
const LIMITS = { last: 50, after: 200, before: 100 } as const;

class OpenConnection implements Connection {
  readonly ended: Promise<"session" | "lost">;
  private end: (why: "session" | "lost") => void = () => {};
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
      this.end = (why) => {
        this.isOver = true;
        this.pulse.stop();
        resolve(why);
      };
    });
    nats.closed().then((why) => {
      this.end(why instanceof errors.UserAuthenticationExpiredError ? "session" : "lost");
    });
  }

  async join(place: Place, heard: OnLive, ended: () => void) {
    const subscription = this.nats.subscribe(subject("live", place), {
      callback: (error, msg) => {
        if (error || this.isOver) return;
        const live = readLive(place, msg.data, (name) => header(msg, name));
        if (live) heard(live, header(msg, "traceparent") ?? null);
      },
    });
    await this.unlessLost(this.nats.flush());
    // A refusal of the server arrives before its answer to the flush.
    if (subscription.isClosed()) throw forbidden();
    // Without an error, this page or the end of the connection has closed it.
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

  async session() {
    const { token, expires } = (await this.request("auth.session", undefined)).json<Token>();
    return { token, expires };
  }

  probe() {
    if (!this.isOver) this.pulse.check();
  }

  close() {
    // A socket in a dead network closes late; the rest of the page need not wait for that.
    this.end("lost");
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
      // Perhaps the network is dead, and not the service.
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
    // The headers have what is needed.
  }
  return new Failure("refused", said, code, typeof wait === "number" ? wait : null);
}

function forbidden(): Failure {
  return new Failure("forbidden", "You may not do this here.", 403);
}

function lost(): Failure {
  return new Failure("lost", "The connection was lost.");
}
