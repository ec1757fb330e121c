// @vitest-environment happy-dom
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Failure } from "../failure";
import { loadTracing } from "./load";
import { isSampled, Tracer } from "./tracer";
import { UNTRACED } from "./tracing";

const GENERAL = { realm: "chat", room: "general" } as const;
const COLLECTOR = "http://collector.example:4318";

interface Written {
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  name: string;
  kind: number;
  startTimeUnixNano: string;
  endTimeUnixNano: string;
  attributes: { key: string; value: { stringValue?: string; intValue?: string } }[];
  links: { traceId: string; spanId: string }[];
  status: { code?: number };
}

/** The exported spans, once the page has sent them. */
async function exported(collector: ReturnType<typeof vi.fn>): Promise<Written[]> {
  await vi.advanceTimersByTimeAsync(5_000);
  return collector.mock.calls.flatMap(([url, { body }]) => {
    expect(url).toBe(`${COLLECTOR}/v1/traces`);
    return JSON.parse(body).resourceSpans[0].scopeSpans[0].spans as Written[];
  });
}

function attribute(span: Written | undefined, name: string) {
  const found = span?.attributes.find(({ key }) => key === name)?.value;
  return found?.stringValue ?? found?.intValue;
}

let collector: ReturnType<typeof vi.fn>;

beforeEach(() => {
  vi.useFakeTimers();
  collector = vi.fn(async () => new Response());
  vi.stubGlobal("fetch", collector);
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

function tracer(ratio = 1) {
  return new Tracer({ endpoint: COLLECTOR, ratio }, new URL("ws://localhost:9222"));
}

describe("a trace", () => {
  it("of a message has spans for Enter and the request, which passes the context on", async () => {
    let passed: string | undefined;
    await tracer().send(GENERAL, "id-1", Date.now() - 5, async (traceparent) => {
      passed = traceparent;
    });
    const spans = await exported(collector);
    const root = spans.find(({ name }) => name === "send_message");
    const client = spans.find(({ name }) => name === "send chat.send.{room}");
    expect(passed).toBe(`00-${client?.traceId}-${client?.spanId}-01`);
    expect([root?.parentSpanId, client?.parentSpanId]).toEqual([undefined, root?.spanId]);
    expect([root?.kind, client?.kind, root?.traceId]).toEqual([1, 3, client?.traceId]);
    expect(attribute(client, "messaging.system")).toBe("nats");
    expect(attribute(client, "messaging.message.id")).toBe("id-1");
    expect(attribute(client, "messaging.destination.name")).toBe("chat.send.general");
    expect(attribute(client, "server.port")).toBe("9222");
    const [began, ended] = [root?.startTimeUnixNano ?? "", client?.endTimeUnixNano ?? ""];
    expect(BigInt(began)).toBeLessThan(BigInt(ended));
  });

  it("of a failed request names the error", async () => {
    const failure = new Failure("refused", "try again", 503);
    const work = () => Promise.reject(failure);
    await expect(tracer().history(GENERAL, true, work)).rejects.toBe(failure);
    const spans = await exported(collector);
    const asked = spans.find(({ name }) => name === "request chat.history.{room}");
    const entered = spans.find(({ name }) => name === "enter_room");
    expect([attribute(asked, "error.type"), asked?.status.code]).toEqual(["503", 2]);
    expect(asked?.parentSpanId).toBe(entered?.spanId);
  });

  it("of a received message links to the span that published it", async () => {
    const [traceId, spanId] = ["0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"];
    tracer().live(GENERAL, `00-${traceId}-${spanId}-01`);
    tracer().live(GENERAL, "nonsense");
    const spans = await exported(collector);
    expect(spans.map(({ name, kind, links }) => [name, kind, links])).toEqual([
      ["process live.chat.{room}", 5, [{ traceId, spanId }]],
      ["process live.chat.{room}", 5, []],
    ]);
    expect(spans[0]?.traceId).not.toBe(traceId);
  });

  it("is sampled as a whole, by its id alone", async () => {
    expect(isSampled(`${"f".repeat(16)}${"0".repeat(16)}`, 0.01)).toBe(true);
    expect(isSampled(`${"0".repeat(16)}${"f".repeat(16)}`, 0.99)).toBe(false);
    expect(isSampled(`${"0".repeat(16)}7ffffffffffffffe`, 0.5)).toBe(true);
    expect(isSampled(`${"0".repeat(16)}8000000000000001`, 0.5)).toBe(false);
    let passed: string | undefined;
    await tracer(0).send(GENERAL, "id-1", Date.now(), async (traceparent) => {
      passed = traceparent;
    });
    expect(passed).toMatch(/-00$/);
    expect(await exported(collector)).toEqual([]);
  });

  it("arrives complete while the collector accepts spans, however many", async () => {
    const made = tracer();
    for (let count = 0; count < 400; count += 1) made.live(GENERAL, null);
    expect((await exported(collector)).length).toBe(400);
  });

  it("is lost while the collector is away, which later gets the number of lost spans", async () => {
    collector.mockRejectedValue(new TypeError("Failed to fetch"));
    const made = tracer();
    for (let count = 0; count < 1_000; count += 1) made.live(GENERAL, null);
    await exported(collector);
    collector.mockClear().mockResolvedValue(new Response());
    made.live(GENERAL, null);
    expect((await exported(collector)).length).toBe(1);
    const body = JSON.parse(collector.mock.calls[0]?.[1].body);
    const { attributes } = body.resourceSpans[0].resource;
    expect(attributes).toContainEqual({ key: "lost_spans", value: { intValue: "1000" } });
  });

  it("of the person's own message is queued although live messages fill the queue", async () => {
    let answer = () => {};
    collector.mockReturnValue(
      new Promise((done) => {
        answer = () => done(new Response());
      }),
    );
    const made = tracer();
    for (let count = 0; count < 1_000; count += 1) made.live(GENERAL, null);
    await made.send(GENERAL, "id-1", Date.now(), async () => {});
    await vi.advanceTimersByTimeAsync(2_000);
    // One request at a time, so that a slow collector is not overloaded.
    expect(collector).toHaveBeenCalledTimes(1);
    collector.mockResolvedValue(new Response());
    answer();
    const names = (await exported(collector)).map(({ name }) => name);
    expect(names).toContain("send_message");
    expect(names).toContain("send chat.send.{room}");
  });
});

it("nothing is traced without configuration", async () => {
  expect(
    await loadTracing({
      websocket: "ws://localhost:9222",
      telemetry: null,
      login: { local: true, oidc: null },
    }),
  ).toBe(UNTRACED);
});
