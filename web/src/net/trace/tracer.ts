import type { Place } from "../../model/place";
import type { Config } from "../config";
import { template } from "../subjects";
import { Exporter, type Span } from "./otlp";
import type { Traced, Tracing } from "./tracing";

/** Spans for messages, history and live messages, by OpenTelemetry's conventions. */
export class Tracer implements Tracing {
  private readonly exporter: Exporter;
  private readonly server: Record<string, string | number>;

  constructor(
    private readonly settings: NonNullable<Config["telemetry"]>,
    websocket: URL,
  ) {
    this.exporter = new Exporter(settings.endpoint);
    const port = websocket.port || (websocket.protocol === "wss:" ? "443" : "80");
    this.server = {
      "messaging.system": "nats",
      "server.address": websocket.hostname,
      "server.port": Number(port),
    };
  }

  async send<T>(place: Place, id: string, began: number, work: Traced<T>): Promise<T> {
    const root = this.begin("send_message", "INTERNAL", newId(16), null);
    root.start = began;
    const to = template("send", place.realm);
    const span = this.begin(`send ${to}`, "CLIENT", root.traceId, root.spanId);
    Object.assign(span.attributes, this.server, {
      "messaging.operation.name": "send",
      "messaging.operation.type": "send",
      "messaging.destination.template": to,
      "messaging.destination.name": to.replace("{room}", place.room),
      "messaging.message.id": id,
    });
    return this.run(span, work, () => this.end(root));
  }

  async history<T>(place: Place, enters: boolean, work: Traced<T>): Promise<T> {
    const traceId = newId(16);
    const root = enters ? this.begin("enter_room", "INTERNAL", traceId, null) : null;
    const to = template("history", place.realm);
    const span = this.begin(`request ${to}`, "CLIENT", traceId, root?.spanId ?? null);
    Object.assign(span.attributes, this.server, {
      "messaging.operation.name": "request",
      "messaging.operation.type": "send",
      "messaging.destination.template": to,
      "messaging.destination.name": to.replace("{room}", place.room),
    });
    return this.run(span, work, () => root && this.end(root));
  }

  live(place: Place, traceparent: string | null) {
    // A trace of its own with a link to the publisher's span: many pages receive one message.
    const context = /^00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}$/.exec(traceparent ?? "");
    const from = template("live", place.realm);
    const span = this.begin(`process ${from}`, "CONSUMER", newId(16), null);
    Object.assign(span.attributes, this.server, {
      "messaging.operation.name": "process",
      "messaging.operation.type": "process",
      "messaging.destination.template": from,
      "messaging.destination.name": from.replace("{room}", place.room),
    });
    if (context?.[1] && context[2]) span.link = { traceId: context[1], spanId: context[2] };
    // Sampled by the publisher's trace id, so that the link leads to a recorded span.
    this.end(span, span.link?.traceId);
  }

  private async run<T>(span: Span, work: Traced<T>, done: () => void): Promise<T> {
    const flag = isSampled(span.traceId, this.settings.ratio) ? "01" : "00";
    try {
      return await work(`00-${span.traceId}-${span.spanId}-${flag}`);
    } catch (error) {
      const code = (error as { code?: unknown }).code;
      const kind = (error as { kind?: unknown }).kind;
      span.error = String(code || kind || "error");
      throw error;
    } finally {
      this.end(span);
      done();
    }
  }

  private begin(name: string, kind: Span["kind"], traceId: string, parentId: string | null): Span {
    return {
      name,
      kind,
      traceId,
      spanId: newId(8),
      parentId,
      start: performance.timeOrigin + performance.now(),
      end: 0,
      attributes: {},
      error: null,
      link: null,
    };
  }

  private end(span: Span, sampledAs = span.traceId) {
    span.end = performance.timeOrigin + performance.now();
    if (isSampled(sampledAs, this.settings.ratio)) this.exporter.add(span);
  }
}

/**
 * Decides by trace id, like the functions' sampler, so that traces stay complete: compares the last
 * 63 bits with the ratio.
 */
export function isSampled(traceId: string, ratio: number): boolean {
  if (ratio >= 1) return true;
  const low = BigInt(`0x${traceId.slice(16)}`) >> 1n;
  return low < BigInt(Math.floor(Math.max(0, ratio) * 2 ** 63));
}

function newId(bytes: number): string {
  const random = crypto.getRandomValues(new Uint8Array(bytes));
  return Array.from(random, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
