import "fake-indexeddb/auto";
import { afterEach, describe, expect, it, vi } from "vitest";
import type { Delivery } from "../../model/message";
import type { Place } from "../../model/place";
import type { Sent } from "../../net/connection";
import { Failure } from "../../net/failure";
import { Outbox, type OutboxNews } from "./outbox";
import { type Item, type OutboxStore, openOutboxStore } from "./outbox-store";
import type { Tabs } from "./tabs";

const GENERAL: Place = { realm: "chat", room: "general" };

/** The tabs of one browser, with fakes of Web Locks and BroadcastChannel. */
class Browser {
  private readonly heard = new Set<(news: OutboxNews) => void>();
  private last: Promise<void> = Promise.resolve();

  open = (heard: (news: OutboxNews) => void): Tabs<OutboxNews> => {
    this.heard.add(heard);
    return {
      exclusively: (work) => {
        this.last = this.last.catch(() => {}).then(work);
        return this.last;
      },
      tell: (news) => {
        for (const other of this.heard) if (other !== heard) other(structuredClone(news));
      },
      close: () => this.heard.delete(heard),
    };
  };
}

/** A log, which stores each id once. */
class Log {
  texts: string[] = [];
  sends = 0;
  inFlight = 0;
  private readonly known = new Map<string, Sent>();

  take = async ({ id, text }: Item): Promise<Sent> => {
    this.sends += 1;
    this.inFlight += 1;
    if (this.inFlight > 1) throw new Error("two messages at once");
    await Promise.resolve();
    this.inFlight -= 1;
    const sent = this.known.get(id) ?? { id, seq: this.known.size + 1, timestamp: 1 };
    if (!this.known.has(id)) this.texts.push(text);
    this.known.set(id, sent);
    return sent;
  };
}

async function outbox(uid: string, browser = new Browser()) {
  const acked: string[] = [];
  const events = { ...DEAF, acked: ({ text }: Item) => void acked.push(text) };
  const made = new Outbox(uid, await openOutboxStore(), events, browser.open);
  return { outbox: made, acked, browser };
}

async function kept(uid: string): Promise<Item[]> {
  return (await openOutboxStore()).all(uid);
}

function numbered(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `message ${index}`);
}

const DEAF = { changed: () => {}, written: () => {}, acked: () => {} };

let people = 0;
const somebody = () => `person${++people}`;

afterEach(() => {
  vi.useRealTimers();
});

describe("an outbox", () => {
  it("sends messages from an outage once and in order", async () => {
    const log = new Log();
    const { outbox: box, acked } = await outbox(somebody());
    for (const text of numbered(40)) box.add(GENERAL, text);
    expect(box.items).toHaveLength(40);
    box.online(log.take);
    await vi.waitFor(() => expect(box.items).toEqual([]));
    expect([log.texts, log.sends, acked]).toEqual([numbered(40), 40, numbered(40)]);
  });

  it("survives a reload", async () => {
    const uid = somebody();
    const before = await outbox(uid);
    for (const text of numbered(3)) before.outbox.add(GENERAL, text);
    await vi.waitFor(async () => expect(await kept(uid)).toHaveLength(3));
    before.outbox.close();
    const log = new Log();
    const { outbox: box } = await outbox(uid);
    box.online(log.take);
    await vi.waitFor(() => expect(log.texts).toEqual(numbered(3)));
    await vi.waitFor(async () => expect(await kept(uid)).toEqual([]));
  });

  it("sends a message whose answer was lost again under its id, so that it is stored once", async () => {
    const log = new Log();
    const { outbox: box, acked } = await outbox(somebody());
    let isLost = true;
    const send = async (item: Item) => {
      const sent = await log.take(item);
      if (isLost) throw new Failure("lost", "The connection was lost.");
      return sent;
    };
    box.online(send);
    for (const text of numbered(2)) box.add(GENERAL, text);
    await vi.waitFor(() => expect(log.sends).toBe(1));
    isLost = false;
    box.online(send);
    await vi.waitFor(() => expect(acked).toEqual(numbered(2)));
    expect([log.texts, log.sends]).toEqual([numbered(2), 3]);
  });

  it("is shared by a person's tabs: one of them sends each message", async () => {
    const log = new Log();
    const uid = somebody();
    const browser = new Browser();
    const [a, b] = [await outbox(uid, browser), await outbox(uid, browser)];
    a.outbox.online(log.take);
    b.outbox.online(log.take);
    for (const text of numbered(10)) {
      a.outbox.add(GENERAL, `a ${text}`);
      b.outbox.add(GENERAL, `b ${text}`);
    }
    await vi.waitFor(() => expect(a.acked).toHaveLength(20));
    await vi.waitFor(() => expect(b.acked).toHaveLength(20));
    expect([log.sends, new Set(log.texts).size]).toEqual([20, 20]);
    expect([a.outbox.items, b.outbox.items]).toEqual([[], []]);
  });

  it("shows in one tab the waiting messages of another, even an offline one", async () => {
    const log = new Log();
    const uid = somebody();
    const browser = new Browser();
    const [a, b] = [await outbox(uid, browser), await outbox(uid, browser)];
    a.outbox.add(GENERAL, "from the tab without a connection");
    await vi.waitFor(() => expect(b.outbox.items).toHaveLength(1));
    b.outbox.online(log.take);
    await vi.waitFor(() => expect(a.acked).toEqual(["from the tab without a connection"]));
    expect(a.outbox.items).toEqual([]);
  });

  it("shows a message's delivery state in each tab, whichever sends it", async () => {
    const uid = somebody();
    const browser = new Browser();
    const [a, b] = [await outbox(uid, browser), await outbox(uid, browser)];
    let answer: () => void = () => {};
    let tries = 0;
    a.outbox.online(async ({ id }) => {
      tries += 1;
      if (tries === 1) throw new Failure("refused", "slow down", 429, 200);
      await new Promise<void>((resolve) => {
        answer = resolve;
      });
      return { id, seq: 1, timestamp: 1 };
    });
    const item = b.outbox.add(GENERAL, "x");
    await vi.waitFor(() =>
      expect(b.outbox.delivery(item)).toMatchObject({
        state: "queued",
        problem: expect.stringContaining("Too many"),
        until: expect.any(Number),
      }),
    );
    await vi.waitFor(() => expect(b.outbox.delivery(item).state).toBe("sending"));
    // Too late: it is being sent, even if by another tab.
    b.outbox.discard(item.id);
    expect(b.outbox.items).toHaveLength(1);
    answer();
    await vi.waitFor(() => expect([a.outbox.items, b.outbox.items]).toEqual([[], []]));
  });

  it("lets a tab discard a message that was refused in another tab", async () => {
    const uid = somebody();
    const browser = new Browser();
    const [a, b] = [await outbox(uid, browser), await outbox(uid, browser)];
    a.outbox.online(async () => {
      throw new Failure("refused", "a text is short", 400);
    });
    const { id } = b.outbox.add(GENERAL, "bad");
    await vi.waitFor(() => expect(b.outbox.items[0]?.refused).toBeTruthy());
    b.outbox.discard(id);
    await vi.waitFor(async () => expect(await kept(uid)).toEqual([]));
    await vi.waitFor(() => expect([a.outbox.items, b.outbox.items]).toEqual([[], []]));
  });

  it("stops waiting for a message that another tab has discarded", async () => {
    const log = new Log();
    const uid = somebody();
    const browser = new Browser();
    const [a, b] = [await outbox(uid, browser), await outbox(uid, browser)];
    a.outbox.online((item) => {
      // Far longer than the test.
      if (item.text === "first") throw new Failure("refused", "slow down", 429, 3_600_000);
      return log.take(item);
    });
    const first = a.outbox.add(GENERAL, "first");
    a.outbox.add(GENERAL, "second");
    await vi.waitFor(() => expect(b.outbox.items).toHaveLength(2));
    await vi.waitFor(() =>
      expect(a.outbox.delivery(first)).toMatchObject({ until: expect.any(Number) }),
    );
    b.outbox.discard(first.id);
    await vi.waitFor(() => expect(log.texts).toEqual(["second"]));
  });

  it("waits as long as a 429 says, and keeps the order", async () => {
    const { outbox: box, acked } = await outbox(somebody());
    const log = new Log();
    const tried: number[] = [];
    box.online(async (item) => {
      tried.push(Date.now());
      if (tried.length === 1) throw new Failure("refused", "slow down", 429, 300);
      return log.take(item);
    });
    const [first] = numbered(2).map((text) => box.add(GENERAL, text));
    await vi.waitFor(() => expect(tried).toHaveLength(1));
    await vi.waitFor(() => expect(first && box.delivery(first).state).toBe("queued"));
    const delivery = first && box.delivery(first);
    expect(delivery).toMatchObject({
      problem: expect.stringContaining("Too many"),
      until: expect.any(Number),
    });
    await vi.waitFor(() => expect(acked).toEqual(numbered(2)));
    expect((tried[1] ?? 0) - (tried[0] ?? 0)).toBeGreaterThanOrEqual(290);
  });

  it("keeps a refused message with its reason until the person decides, and sends the others", async () => {
    const log = new Log();
    const uid = somebody();
    const { outbox: box, acked } = await outbox(uid);
    let isRefused = true;
    box.online(async (item) => {
      if (isRefused && item.text === "bad") throw new Failure("refused", "a text is short", 400);
      return log.take(item);
    });
    const bad = box.add(GENERAL, "bad");
    const worse = box.add(GENERAL, "bad");
    box.add(GENERAL, "good");
    await vi.waitFor(() => expect(acked).toEqual(["good"]));
    expect(box.items.map((item) => box.delivery(item))).toEqual([
      { state: "failed", reason: "A text is short." },
      { state: "failed", reason: "A text is short." },
    ]);
    box.discard(worse.id);
    await vi.waitFor(async () => expect(await kept(uid)).toHaveLength(1));
    isRefused = false;
    box.retry(bad.id);
    await vi.waitFor(() => expect(acked).toEqual(["good", "bad"]));
  });

  it("shows a refusal that it cannot store, and does not retry forever", async () => {
    const store = await openOutboxStore();
    const full: OutboxStore = {
      outlives: true,
      all: (uid) => store.all(uid),
      put: (item) => store.put(item),
      change: () => Promise.reject(new DOMException("full", "QuotaExceededError")),
      remove: (uid, id) => store.remove(uid, id),
    };
    const box = new Outbox(somebody(), full, DEAF, new Browser().open);
    const log = new Log();
    let tries = 0;
    box.online(async (item) => {
      if (item.text === "good") return log.take(item);
      tries += 1;
      throw new Failure("refused", "a text is short", 400);
    });
    const bad = box.add(GENERAL, "bad");
    box.add(GENERAL, "good");
    await vi.waitFor(() => expect(log.texts).toEqual(["good"]));
    expect([tries, box.items.map((item) => box.delivery(item))]).toEqual([
      1,
      [{ state: "failed", reason: "A text is short." }],
    ]);
    box.discard(bad.id);
    expect(box.items).toEqual([]);
  });

  it("gives a message whose id was taken a new one", async () => {
    const { outbox: box } = await outbox(somebody());
    const ids: string[] = [];
    box.online(async ({ id }) => {
      ids.push(id);
      if (ids.length === 1) throw new Failure("refused", "this id stands for another", 409);
      return { id, seq: 1, timestamp: 1 };
    });
    const { id } = box.add(GENERAL, "x");
    await vi.waitFor(() => expect(box.items[0]?.refused).toBeTruthy());
    box.retry(id);
    await vi.waitFor(() => expect(box.items).toEqual([]));
    expect([ids.length, ids[0] === ids[1]]).toEqual([2, false]);
  });

  it("retries while the service is away, and lets the message be discarded meanwhile", async () => {
    const { outbox: box } = await outbox(somebody());
    box.online(async () => {
      throw new Failure("away", "Nobody serves this.");
    });
    const item = box.add(GENERAL, "x");
    await vi.waitFor(() =>
      expect(box.delivery(item)).toMatchObject({ state: "queued", until: expect.any(Number) }),
    );
    box.discard(item.id);
    expect(box.items).toEqual([]);
  });

  it("shows the last problem during the next try", async () => {
    const { outbox: box } = await outbox(somebody());
    const seen: Delivery[] = [];
    box.online(async (item) => {
      seen.push(box.delivery(item));
      if (seen.length === 1) throw new Failure("refused", "slow down", 429, 1);
      return { id: item.id, seq: 1, timestamp: 1 };
    });
    box.add(GENERAL, "x");
    await vi.waitFor(() => expect(box.items).toEqual([]));
    expect(seen).toEqual([
      { state: "sending", problem: null },
      { state: "sending", problem: expect.stringContaining("Too many") },
    ]);
  });

  it("does not send a message that is discarded right before its turn", async () => {
    const uid = somebody();
    const log = new Log();
    const store = await openOutboxStore();
    let box: Outbox;
    // The sender has already read it when the person discards it.
    const all = async (of: string) => {
      const read = await store.all(of);
      for (const { id, text } of read) if (text === "taken back") box.discard(id);
      return read;
    };
    const slow: OutboxStore = {
      outlives: true,
      all,
      put: (item) => store.put(item),
      change: (item) => store.change(item),
      remove: (of, id) => store.remove(of, id),
    };
    const browser = new Browser();
    box = new Outbox(uid, slow, DEAF, browser.open);
    box.add(GENERAL, "taken back");
    box.add(GENERAL, "stays");
    box.online(log.take);
    await vi.waitFor(async () => expect(await kept(uid)).toEqual([]));
    expect(log.texts).toEqual(["stays"]);
  });

  it("drops a message that was seen in the room", async () => {
    const uid = somebody();
    const { outbox: box } = await outbox(uid);
    const { id } = box.add(GENERAL, "x");
    await vi.waitFor(async () => expect(await kept(uid)).toHaveLength(1));
    box.seen(id);
    await vi.waitFor(async () => expect(await kept(uid)).toEqual([]));
  });

  it("continues once the store can be read again", async () => {
    const uid = somebody();
    const store = await openOutboxStore();
    const before = { uid, id: "0", place: GENERAL, text: "before", created: 1, refused: null };
    await store.put(before);
    let failures = 6;
    const flaky: OutboxStore = {
      outlives: true,
      all: (of) => {
        failures -= 1;
        return failures < 0
          ? store.all(of)
          : Promise.reject(new DOMException("Internal error", "UnknownError"));
      },
      put: (item) => store.put(item),
      change: (item) => store.change(item),
      remove: (of, id) => store.remove(of, id),
    };
    const log = new Log();
    const box = new Outbox(uid, flaky, DEAF, new Browser().open);
    box.online(log.take);
    await vi.waitFor(() => expect(log.texts).toEqual(["before"]), { timeout: 20_000 });
    expect(box.items).toEqual([]);
    box.close();
  }, 30_000);

  it("works without storage until the page is closed", async () => {
    vi.stubGlobal("indexedDB", undefined);
    const log = new Log();
    const { outbox: box, acked } = await outbox(somebody());
    vi.unstubAllGlobals();
    for (const text of numbered(3)) box.add(GENERAL, text);
    box.online(log.take);
    await vi.waitFor(() => expect(acked).toEqual(numbered(3)));
    expect([log.sends, box.items]).toEqual([3, []]);
  });

  it("ends at log-out with the message in flight", async () => {
    const log = new Log();
    const uid = somebody();
    const { outbox: box } = await outbox(uid);
    box.online((item) => {
      box.close();
      return log.take(item);
    });
    for (const text of numbered(2)) box.add(GENERAL, text);
    await vi.waitFor(async () => expect(await kept(uid)).toHaveLength(1));
    expect(log.texts).toEqual(numbered(1));
  });
});
