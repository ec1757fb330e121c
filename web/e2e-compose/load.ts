import { setTimeout } from "node:timers/promises";
import { connect, type Msg, type NatsConnection } from "@nats-io/transport-node";
import { expect } from "@playwright/test";
import { sql } from "./docker";

const NATS = "nats://127.0.0.1:4222";

/** How often due messages are sent, in ms. */
const BEAT_MS = 10;

/** With more unanswered messages than this nothing new is sent. */
const MOST_IN_FLIGHT = 500;

/** When a message is sent again that nobody has acknowledged, and after a refusal. */
const ANSWER_MS = 3_000;
const PAUSE_MS = 100;

/** Messages that are refused for good. */
const FINAL = ["400", "401", "403", "409", "413"];

/** Somebody who writes without a pause, and sends a message again, with its id, until it is acknowledged. */
export class Load {
  private readonly start = performance.now();
  private readonly timer: NodeJS.Timeout;
  private readonly inFlight = new Set<Promise<void>>();
  private readonly failures: unknown[] = [];
  private begun = 0;
  private repeats = 0;
  private slowest = 0;

  private constructor(
    private readonly nats: NatsConnection,
    readonly room: string,
    private readonly perSecond: number,
  ) {
    this.timer = setInterval(() => this.beat(), BEAT_MS);
  }

  /** `token`: an access token of Keycloak's. */
  static async start(token: string, perSecond: number): Promise<Load> {
    const { sub } = JSON.parse(atob(token.split(".")[1] ?? "")) as { sub: string };
    const nats = await connect({
      servers: NATS,
      token,
      inboxPrefix: `_INBOX.u.o-${sub}`,
      maxReconnectAttempts: -1,
      reconnectTimeWait: 250,
      // While `auth` is away, nobody is let in.
      ignoreAuthErrorAbort: true,
    });
    return new Load(nats, `load-${Date.now()}`, perSecond);
  }

  /** Stops writing, waits for every acknowledgement, and finds each message in the database, once. */
  async prove(): Promise<string> {
    clearInterval(this.timer);
    const seconds = (performance.now() - this.start) / 1000;
    await Promise.all(this.inFlight);
    await this.nats.close();
    expect(this.failures).toEqual([]);
    const count = "select count(*), count(distinct msg_id) from messages where room";
    await expect
      .poll(() => sql(`${count} = '${this.room}'`), { timeout: 120_000 })
      .toBe(`${this.begun}|${this.begun}`);
    const rate = (this.begun / seconds).toFixed(0);
    const slowest = (this.slowest / 1000).toFixed(1);
    return `${this.begun} sent (${rate}/s), ${this.repeats} of them again, slowest ${slowest} s; each stored once`;
  }

  private beat(): void {
    const due = ((performance.now() - this.start) / 1000) * this.perSecond;
    while (this.begun < due && this.inFlight.size < MOST_IN_FLIGHT) {
      this.begun += 1;
      const sent = this.send(this.begun).catch((error) => {
        this.failures.push(error);
      });
      this.inFlight.add(sent);
      void sent.finally(() => this.inFlight.delete(sent));
    }
  }

  private async send(number: number): Promise<void> {
    const draft = JSON.stringify({ id: `${this.room}-${number}`, text: String(number) });
    const began = performance.now();
    for (;;) {
      const answer = await this.ask(draft);
      const code = answer?.headers?.get("Nats-Service-Error-Code") ?? "";
      if (FINAL.includes(code)) throw new Error(`${code}: ${answer?.string()}`);
      if (answer && code === "") break;
      this.repeats += 1;
      await setTimeout(PAUSE_MS);
    }
    this.slowest = Math.max(this.slowest, performance.now() - began);
  }

  private async ask(draft: string): Promise<Msg | null> {
    try {
      return await this.nats.request(`chat.send.${this.room}`, draft, { timeout: ANSWER_MS });
    } catch {
      return null;
    }
  }
}
