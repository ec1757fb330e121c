import type { NatsConnection } from "@nats-io/transport-node";
import type { Stack } from "./stack";

/** A message by its number in its room, which is its text, and its sequence in the log. */
export type Written = readonly [number: number, seq: number];

/** How often due messages are sent, in ms. */
const BEAT_MS = 10;

/** With more unanswered messages than this the writers wait. */
const MOST_IN_FLIGHT = 400;

const GUARD_MS = 30_000;

/** Write through `send` at an even rate into several rooms, and record what was acknowledged. */
export class Writers {
  private readonly written = new Map<string, Written[]>();
  private readonly start = performance.now();
  private readonly timer: NodeJS.Timeout;
  private readonly inFlight = new Set<Promise<void>>();
  private failure: unknown = null;
  private count = 0;
  private end = 0;

  private constructor(
    private readonly nats: NatsConnection,
    private readonly rooms: readonly string[],
    private readonly perSecond: number,
  ) {
    for (const room of rooms) this.written.set(room, []);
    this.timer = setInterval(() => this.beat(), BEAT_MS);
  }

  static async start(stack: Stack, name: string, rooms: readonly string[], perSecond: number) {
    return new Writers(await stack.connect(name), rooms, perSecond);
  }

  /** The room's newest acknowledged sequence. */
  newest(room: string): number {
    return Math.max(
      0,
      ...this.of(room)
        .slice(-MOST_IN_FLIGHT)
        .map(([, seq]) => seq),
    );
  }

  /** Everything that was written in a room, in log order. Complete after `stop`. */
  all(room: string): Written[] {
    return this.of(room).toSorted(([, a], [, b]) => a - b);
  }

  /** The number of acknowledged messages, and their rate per second. */
  get reached(): { messages: number; perSecond: number } {
    const messages = this.rooms.reduce((sum, room) => sum + this.of(room).length, 0);
    const until = this.end || performance.now();
    return { messages, perSecond: (messages * 1000) / (until - this.start) };
  }

  /** Resolves once every message is acknowledged. */
  async stop(): Promise<void> {
    clearInterval(this.timer);
    await Promise.all(this.inFlight);
    this.end = performance.now();
    await this.nats.close();
    if (this.failure) throw this.failure;
  }

  private beat(): void {
    const due = ((performance.now() - this.start) / 1000) * this.perSecond;
    while (this.count < due && this.inFlight.size < MOST_IN_FLIGHT) {
      const room = this.rooms[this.count % this.rooms.length] ?? "";
      const number = Math.floor(this.count / this.rooms.length);
      this.count += 1;
      const sent = this.send(room, number).catch((error) => {
        this.failure ??= error;
      });
      this.inFlight.add(sent);
      void sent.finally(() => this.inFlight.delete(sent));
    }
  }

  private async send(room: string, number: number): Promise<void> {
    const draft = JSON.stringify({ id: `${room}-${number}`, text: String(number) });
    for (;;) {
      const answer = await this.nats.request(`chat.send.${room}`, draft, { timeout: GUARD_MS });
      const { seq, code } = answer.json<{ seq?: number; code?: number }>();
      if (seq !== undefined) {
        this.of(room).push([number, seq]);
        return;
      }
      // As the page does: the same id again, so that a message which was stored all the same is so once.
      if (code !== 503) throw new Error(`send refused: ${answer.string()}`);
    }
  }

  private of(room: string): Written[] {
    const written = this.written.get(room);
    if (!written) throw new Error(`nobody writes in ${room}`);
    return written;
  }
}
