import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type Live, messageKey, SENT, type Stored } from "../../model/message";
import type { Place } from "../../model/place";
import type { Answer, Question } from "../../model/room";
import type { Connection, Leave } from "../../net/connection";
import { Failure } from "../../net/failure";
import { RoomDriver } from "./driver";
import { show } from "./room-view";

const GENERAL: Place = { realm: "chat", room: "general" };
const RANDOM: Place = { realm: "chat", room: "random" };

/** A connection whose answers come when the test says so. */
class Slow {
  readonly asked: { place: Place; question: Question; answer: Answerer }[] = [];
  readonly heard = new Map<string, (live: Live, traceparent: string | null) => void>();
  readonly ended = new Map<string, () => void>();
  left: string[] = [];
  isForbidden = false;

  readonly connection = {
    join: async (
      { room }: Place,
      heard: (live: Live) => void,
      ended: () => void,
    ): Promise<Leave> => {
      if (this.isForbidden) throw new Failure("forbidden", "No.");
      this.heard.set(room, heard);
      this.ended.set(room, ended);
      return () => this.left.push(room);
    },
    history: (place: Place, question: Question) =>
      new Promise<Answer>((resolve, reject) => {
        this.asked.push({ place, question, answer: { resolve, reject } });
      }),
  } as unknown as Connection;
}

interface Answerer {
  resolve(answer: Answer): void;
  reject(error: unknown): void;
}

function driver(place: Place): RoomDriver {
  return new RoomDriver(place, {
    changed: () => {},
    ask: (connection, where, question) => connection.history(where, question),
    heard: () => {},
  });
}

function told(id: string): Omit<Stored, "at"> {
  const key = messageKey("bob", id);
  return { key, id, uid: "bob", name: "Bob", text: id, timestamp: 1, delivery: SENT };
}

function page(...seqs: number[]): Answer {
  const rows = seqs.map((seq) => ({ ...told(String(seq)), at: { epoch: 1, seq } }));
  return { rows, more: false, head: { epoch: 1, seq: Math.max(0, ...seqs) } };
}

function live(seq: number, prev: number): Live {
  return { seq, prev, message: told(String(seq)), stale: false };
}

const ids = ({ room }: RoomDriver) => room.rows.map(({ id }) => id);
const shown = (one: RoomDriver) => show(one, false);

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

describe("a room's driver", () => {
  it("asks for history only after the subscription is confirmed", async () => {
    const { connection, asked } = new Slow();
    const general = driver(GENERAL);
    const up = general.up(connection);
    expect(asked).toEqual([]);
    await up;
    expect(asked.map(({ question }) => question.type)).toEqual(["last"]);
  });

  it("joins again and asks for missed messages once the permission is back", async () => {
    const slow = new Slow();
    const general = driver(GENERAL);
    await general.up(slow.connection);
    slow.asked[0]?.answer.resolve(page(1));
    await vi.advanceTimersByTimeAsync(0);
    expect(shown(general).phase).toBe("ready");

    slow.isForbidden = true;
    slow.ended.get("general")?.();
    expect(shown(general).phase).toBe("forbidden");
    await vi.advanceTimersByTimeAsync(60_000);
    expect([shown(general).phase, slow.asked.length]).toEqual(["forbidden", 1]);

    slow.isForbidden = false;
    await vi.advanceTimersByTimeAsync(5_000);
    expect(slow.asked[1]?.question.type).toBe("after");
    slow.asked[1]?.answer.resolve(page(1, 2));
    await vi.advanceTimersByTimeAsync(0);
    slow.heard.get("general")?.(live(3, 2), null);
    expect([shown(general).phase, ids(general)]).toEqual(["ready", ["1", "2", "3"]]);
  });

  it("asks again after history has refused it", async () => {
    const slow = new Slow();
    const general = driver(GENERAL);
    await general.up(slow.connection);
    slow.asked[0]?.answer.reject(new Failure("forbidden", "No."));
    await vi.advanceTimersByTimeAsync(0);
    expect([shown(general).phase, slow.left]).toEqual(["forbidden", ["general"]]);
    await vi.advanceTimersByTimeAsync(1_000);
    slow.asked[1]?.answer.resolve(page(1));
    await vi.advanceTimersByTimeAsync(0);
    expect([shown(general).phase, ids(general)]).toEqual(["ready", ["1"]]);
  });

  it("never shows a late answer in another room, or one of an earlier connection", async () => {
    const [first, second] = [new Slow(), new Slow()];
    const [general, random] = [driver(GENERAL), driver(RANDOM)];
    await Promise.all([general.up(first.connection), random.up(first.connection)]);
    first.asked[1]?.answer.resolve(page(2));
    await vi.waitFor(() => expect(ids(random)).toEqual(["2"]));
    general.down();
    await general.up(second.connection);
    first.asked[0]?.answer.resolve(page(1));
    await vi.advanceTimersByTimeAsync(0);
    expect([ids(general), ids(random)]).toEqual([[], ["2"]]);
    second.asked[0]?.answer.resolve(page(3));
    await vi.advanceTimersByTimeAsync(0);
    expect([ids(general), ids(random)]).toEqual([["3"], ["2"]]);
  });

  it("shows live messages if history fails, and retries automatically", async () => {
    const slow = new Slow();
    const general = driver(GENERAL);
    await general.up(slow.connection);
    slow.asked[0]?.answer.reject(new Failure("away", "Nobody serves this at the moment."));
    slow.heard.get("general")?.(live(7, 6), null);
    await vi.advanceTimersByTimeAsync(0);
    const { phase, problem, entries } = shown(general);
    expect([phase, entries.map(({ id }) => id)]).toEqual(["failed", ["7"]]);
    expect(problem).toContain("not available");
    await vi.advanceTimersByTimeAsync(1_000);
    slow.asked[1]?.answer.resolve(page(5, 6, 7));
    await vi.advanceTimersByTimeAsync(0);
    expect(shown(general)).toMatchObject({ phase: "ready", problem: null, gap: null });
    expect(ids(general)).toEqual(["5", "6", "7"]);
  });

  it("repeats a rate-limited question when the service says so, and shows no failure", async () => {
    const slow = new Slow();
    const general = driver(GENERAL);
    await general.up(slow.connection);
    slow.asked[0]?.answer.reject(new Failure("refused", "too many requests", 429, 300));
    await vi.advanceTimersByTimeAsync(299);
    expect(slow.asked).toHaveLength(1);
    expect(shown(general)).toMatchObject({ phase: "loading", problem: null });
    await vi.advanceTimersByTimeAsync(301);
    expect(slow.asked.map(({ question }) => question.type)).toEqual(["last", "last"]);
    slow.asked[1]?.answer.resolve(page(1));
    await vi.advanceTimersByTimeAsync(0);
    expect(ids(general)).toEqual(["1"]);
  });

  it("asks nothing after the connection has ended", async () => {
    const slow = new Slow();
    const general = driver(GENERAL);
    await general.up(slow.connection);
    slow.asked[0]?.answer.reject(new Failure("refused", "too many requests", 429, 300));
    await vi.advanceTimersByTimeAsync(0);
    general.down();
    await vi.advanceTimersByTimeAsync(1_000);
    expect(slow.asked).toHaveLength(1);
  });

  it("shows live messages after a gap while history is slow", async () => {
    const slow = new Slow();
    const general = driver(GENERAL);
    await general.up(slow.connection);
    slow.asked[0]?.answer.resolve(page(1));
    await vi.advanceTimersByTimeAsync(0);
    slow.heard.get("general")?.(live(5, 4), null);
    expect(shown(general).entries.map(({ id }) => id)).toEqual(["1"]);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(shown(general).entries.map(({ id }) => id)).toEqual(["1", "5"]);
    expect(shown(general).gap).toEqual({ before: "bob/5", state: "loading" });
    slow.asked[1]?.answer.resolve(page(3, 4, 5));
    await vi.advanceTimersByTimeAsync(0);
    expect(shown(general)).toMatchObject({ gap: null });
    expect(ids(general)).toEqual(["1", "3", "4", "5"]);
  });

  it("asks for the person's own message if it does not arrive live", async () => {
    const slow = new Slow();
    const general = driver(GENERAL);
    await general.up(slow.connection);
    slow.asked[0]?.answer.resolve(page(1));
    await vi.advanceTimersByTimeAsync(0);
    general.dispatch({ type: "acked", entry: { ...told("2"), at: null }, timestamp: 2 });
    expect(shown(general).entries.map(({ id, at }) => [id, at?.seq])).toEqual([
      ["1", 1],
      ["2", undefined],
    ]);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(slow.asked[1]?.question.type).toBe("after");
    slow.asked[1]?.answer.resolve(page(2));
    await vi.advanceTimersByTimeAsync(0);
    expect([ids(general), general.room.owed]).toEqual([["1", "2"], []]);
  });

  it("of a forbidden room says so, and asks nothing", async () => {
    const slow = new Slow();
    slow.isForbidden = true;
    const general = driver(GENERAL);
    await general.up(slow.connection);
    expect([shown(general).phase, slow.asked]).toEqual(["forbidden", []]);
  });

  it("tells answers for older and for new messages apart", async () => {
    const slow = new Slow();
    const general: RoomDriver = new RoomDriver(GENERAL, {
      // Like opening a room at its first unread message.
      changed: () => general.loadOlder(),
      ask: (connection, where, question) => connection.history(where, question),
      heard: () => {},
    });
    await general.up(slow.connection);
    slow.heard.get("general")?.(live(7, 6), null);
    slow.asked[0]?.answer.resolve({ ...page(5, 6), more: true });
    await vi.advanceTimersByTimeAsync(0);
    const answers = { last: page(), before: page(3, 4), after: page(7) };
    const rest = slow.asked.slice(1).sort((a) => (a.question.type === "before" ? -1 : 1));
    expect(rest.map(({ question }) => question.type)).toEqual(["before", "after"]);
    for (const { question, answer } of rest) {
      answer.resolve(answers[question.type]);
      await vi.advanceTimersByTimeAsync(0);
    }
    expect(ids(general)).toEqual(["3", "4", "5", "6", "7"]);
    expect(shown(general)).toMatchObject({ problem: null, older: { state: "none" } });
  });

  it("leaves the room once it is no longer listed", async () => {
    const slow = new Slow();
    const general = driver(GENERAL);
    await general.up(slow.connection);
    general.stop();
    expect(slow.left).toEqual(["general"]);
  });
});

describe("what is shown of a room", () => {
  it("is empty only after history has said so", async () => {
    const slow = new Slow();
    const general = driver(GENERAL);
    expect(show(general, false).phase).toBe("loading");
    expect(show(general, true).phase).toBe("failed");
    await general.up(slow.connection);
    expect(shown(general).phase).toBe("loading");
    slow.asked[0]?.answer.resolve(page());
    await vi.advanceTimersByTimeAsync(0);
    expect(shown(general)).toMatchObject({ phase: "ready", entries: [], older: { state: "none" } });
  });

  it("has each message once, the person's own last", async () => {
    const slow = new Slow();
    const general = driver(GENERAL);
    await general.up(slow.connection);
    slow.asked[0]?.answer.resolve(page(1, 2));
    await vi.advanceTimersByTimeAsync(0);
    const own = ["2", "3", "4"].map((id) => ({ ...told(id), at: null }));
    general.dispatch({ type: "unsent", entries: own });
    expect(shown(general).entries.map(({ id }) => id)).toEqual(["1", "2", "3", "4"]);
    expect(shown(general).entries[0]).toBe(general.room.rows[0]);
  });
});
