/** A finished span. Times in ms since 1970. */
export interface Span {
  readonly name: string;
  readonly kind: "INTERNAL" | "CLIENT" | "CONSUMER";
  readonly traceId: string;
  readonly spanId: string;
  readonly parentId: string | null;
  start: number;
  end: number;
  readonly attributes: Record<string, string | number>;
  error: string | null;
  link: { readonly traceId: string; readonly spanId: string } | null;
}

/**
 * Sends spans to a collector as OTLP over HTTP, in JSON. OpenTelemetry's own packages would be
 * larger than everything in the page but React, and the page needs only this of them.
 */
export class Exporter {
  private spans: Span[] = [];
  private lost = 0;
  private isSending = false;
  private timer: ReturnType<typeof setTimeout> | undefined;

  private readonly url: string;

  /** `endpoint`: the collector, such as `http://localhost:4318`. */
  constructor(endpoint: string) {
    this.url = `${endpoint.replace(/\/+$/, "")}/v1/traces`;
    // The last chance: a hidden page may be closed without notice.
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "hidden") while (this.spans.length > 0) this.send();
    });
  }

  add(span: Span) {
    // Spans of received messages may be many, and are worth less than those of the person's
    // actions.
    const most = span.kind === "CONSUMER" ? MAX_QUEUE - RESERVED : MAX_QUEUE;
    if (this.spans.length < most) this.spans.push(span);
    else this.lost += 1;
    this.sendSoon();
  }

  /** One request at a time, so that a slow collector is not overloaded. */
  private sendSoon() {
    if (this.isSending || this.spans.length === 0) return;
    if (this.spans.length >= MAX_BATCH) this.send();
    else this.timer ??= setTimeout(() => this.send(), PAUSE_MS);
  }

  private async send() {
    clearTimeout(this.timer);
    this.timer = undefined;
    const spans = this.spans.splice(0, MAX_BATCH);
    const body = JSON.stringify(payload(spans, this.lost));
    // `keepalive` lets the request outlive the page, up to 64 KiB.
    const keepalive = body.length < 60_000;
    const headers = { "content-type": "application/json" };
    const signal = AbortSignal.timeout(EXPORT_TIMEOUT_MS);
    this.isSending = true;
    try {
      const answer = await fetch(this.url, { method: "POST", headers, body, keepalive, signal });
      if (!answer.ok) this.lost += spans.length;
    } catch {
      // Without a collector only the spans are lost.
      this.lost += spans.length;
    }
    this.isSending = false;
    this.sendSoon();
  }
}

/** The longest queue of spans, and how much of it is reserved for the person's own actions. */
const MAX_QUEUE = 500;
const RESERVED = 100;

/** Spans per request: as many as fit into `keepalive`. */
const MAX_BATCH = 80;
const PAUSE_MS = 2_000;
const EXPORT_TIMEOUT_MS = 10_000;
const KINDS = { INTERNAL: 1, CLIENT: 3, CONSUMER: 5 } as const;

/** The message `ExportTraceServiceRequest` in OTLP's JSON. `lost`: how many spans never arrived. */
function payload(spans: readonly Span[], lost: number) {
  const told = lost > 0 ? { lost_spans: lost } : {};
  const resource = { attributes: attributes({ "service.name": "chat-web", ...told }) };
  const scopeSpans = [{ scope: { name: "chat-web" }, spans: spans.map(written) }];
  return { resourceSpans: [{ resource, scopeSpans }] };
}

function written(span: Span) {
  const { name, traceId, spanId, parentId, kind, start, end, error, link } = span;
  const failed = error === null ? {} : { "error.type": error };
  return {
    traceId,
    spanId,
    ...(parentId ? { parentSpanId: parentId } : {}),
    name,
    kind: KINDS[kind],
    startTimeUnixNano: nanoseconds(start),
    endTimeUnixNano: nanoseconds(Math.max(start, end)),
    attributes: attributes({ ...span.attributes, ...failed }),
    links: link ? [link] : [],
    status: error === null ? {} : { code: 2 },
  };
}

function attributes(values: Record<string, string | number>) {
  return Object.entries(values).map(([key, value]) => ({
    key,
    value: typeof value === "number" ? { intValue: String(value) } : { stringValue: value },
  }));
}

/** As text: ns since 1970 exceed the exact integers of a number. */
function nanoseconds(ms: number): string {
  const whole = Math.floor(ms);
  return `${whole}${String(Math.floor((ms - whole) * 1_000_000)).padStart(6, "0")}`;
}
