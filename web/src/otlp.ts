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
  private timer: ReturnType<typeof setTimeout> | undefined;

  private readonly url: string;

  /** `endpoint`: the collector, such as `http://localhost:4318`. */
  constructor(endpoint: string) {
    this.url = `${endpoint.replace(/\/+$/, "")}/v1/traces`;
    // The last chance: a page that is hidden may never be shown again.
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "hidden") this.flush();
    });
  }

  add(span: Span) {
    // A collector that is away costs nothing but its spans.
    if (this.spans.length < MOST) this.spans.push(span);
    this.timer ??= setTimeout(() => this.flush(), PAUSE_MS);
  }

  private flush() {
    clearTimeout(this.timer);
    this.timer = undefined;
    const spans = this.spans.splice(0);
    if (spans.length === 0) return;
    // `keepalive` outlives the page, and takes 64 KiB.
    const body = JSON.stringify(payload(spans));
    const keepalive = body.length < 60_000;
    const headers = { "content-type": "application/json" };
    fetch(this.url, { method: "POST", headers, body, keepalive }).catch(() => {});
  }
}

const MOST = 100;
const PAUSE_MS = 2_000;
const KINDS = { INTERNAL: 1, CLIENT: 3, CONSUMER: 5 } as const;

/** The message `ExportTraceServiceRequest` in OTLP's JSON. */
export function payload(spans: readonly Span[]) {
  const resource = { attributes: attributes({ "service.name": "chat-web" }) };
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
