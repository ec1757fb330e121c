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
 * Sends spans to a collector as OTLP over HTTP, in JSON. OpenTelemetry's own packages would add
 * more to the page than everything else in it that is not React; a page needs this much of them.
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
    // The last chance: a page that is hidden may never be shown again.
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "hidden") while (this.spans.length > 0) this.send();
    });
  }

  add(span: Span) {
    // What others write may be far more than what one does oneself, and tells less.
    const most = span.kind === "CONSUMER" ? MOST - OWN : MOST;
    if (this.spans.length < most) this.spans.push(span);
    else this.lost += 1;
    this.sendSoon();
  }

  /** One request at a time: a collector that is slow is not asked for more. */
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
    // `keepalive` outlives the page, and takes 64 KiB.
    const keepalive = body.length < 60_000;
    const headers = { "content-type": "application/json" };
    const signal = AbortSignal.timeout(PATIENCE_MS);
    this.isSending = true;
    try {
      const answer = await fetch(this.url, { method: "POST", headers, body, keepalive, signal });
      if (!answer.ok) this.lost += spans.length;
    } catch {
      // A collector that is away costs nothing but its spans.
      this.lost += spans.length;
    }
    this.isSending = false;
    this.sendSoon();
  }
}

/** Spans that wait at most, and how many of these places are for what one does oneself. */
const MOST = 500;
const OWN = 100;

/** Spans of one request: as many as `keepalive` takes. */
const AT_ONCE = 80;
const PAUSE_MS = 2_000;
const PATIENCE_MS = 10_000;
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

/** A number of ns since 1970 is too large to be exact as a number. */
function nanoseconds(ms: number): string {
  const whole = Math.floor(ms);
  return `${whole}${String(Math.floor((ms - whole) * 1_000_000)).padStart(6, "0")}`;
}
