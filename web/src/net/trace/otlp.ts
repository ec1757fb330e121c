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
 * Sends spans to a collector as OTLP over HTTP, in JSON. OpenTelemetry's own packages would be larger than the rest
 * of the page without React.
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
    // The last chance: a hidden page may never be shown again.
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "hidden") while (this.spans.length > 0) this.send();
    });
  }

  add(span: Span) {
    // Live messages are many, so they leave some places for the person's own actions.
    const most = span.kind === "CONSUMER" ? MOST - OWN : MOST;
    if (this.spans.length < most) this.spans.push(span);
    else this.lost += 1;
    this.sendSoon();
  }

  /** One request at a time, so that a slow collector gets no more load. */
  private sendSoon() {
    if (this.isSending || this.spans.length === 0) return;
    if (this.spans.length >= AT_ONCE) this.send();
    else this.timer ??= setTimeout(() => this.send(), PAUSE_MS);
  }

  private async send() {
    clearTimeout(this.timer);
    this.timer = undefined;
    const spans = this.spans.splice(0, AT_ONCE);
    const body = JSON.stringify(payload(spans, this.lost));
    // With `keepalive` the request outlives the page; browsers limit it to 64 KiB.
    const keepalive = body.length < 60_000;
    const headers = { "content-type": "application/json" };
    const signal = AbortSignal.timeout(PATIENCE_MS);
    this.isSending = true;
    try {
      const answer = await fetch(this.url, { method: "POST", headers, body, keepalive, signal });
      if (!answer.ok) this.lost += spans.length;
    } catch {
      // If the collector is away, only the spans are lost.
      this.lost += spans.length;
    }
    this.isSending = false;
    this.sendSoon();
  }
}

/** Limit of waiting spans, and how many of these places are for the person's own actions. */
const MOST = 500;
const OWN = 100;

/** Spans per request, so that `keepalive` is possible. */
const AT_ONCE = 80;
const PAUSE_MS = 2_000;
const PATIENCE_MS = 10_000;
const KINDS = { INTERNAL: 1, CLIENT: 3, CONSUMER: 5 } as const;

/** The message `ExportTraceServiceRequest` in OTLP's JSON. `lost`: the number of spans that were dropped. */
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

/** ns since 1970, as a string: a `number` would not be exact. */
function nanoseconds(ms: number): string {
  const whole = Math.floor(ms);
  return `${whole}${String(Math.floor((ms - whole) * 1_000_000)).padStart(6, "0")}`;
}
