import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Entry, type Live, messageKey, SENT, type Stored } from "./message";
import { comparePositions } from "./place";
import {
  type Answer,
  EMPTY,
  nextQuestion,
  olderQuestion,
  type Question,
  type Room,
  type RoomEvent,
} from "./room";
import { reduce } from "./room-reduce";

const LIMIT = 3;
const ME = "alice";

/** A published message. Ids are 0 to 9, so many are duplicates. */
type Kind = "fresh" | "repeat" | "dead" | "unclear" | "elsewhere";

interface Logged {
  readonly seq: number;
  readonly row: Stored | null;
}

/** The service: epochs of a log, each of which ends with what was stored of it. */
class Service {
  private epoch = 1;
  private seq = 0;
  private stored: Stored[] = [];
  private log: Logged[] = [];
  private fresh = 100;
  private forgotten = 0;
  hasBegunAnew = false;

  publish(kind: Kind, id: number): Live | null {
    this.seq += 1;
    if (kind === "elsewhere") return null;
    const last = this.log.at(-1)?.seq ?? 0;
    const prev = last > this.forgotten ? last : 0;
    const name = kind === "repeat" ? id : ++this.fresh;
    const at = { epoch: this.epoch, seq: this.seq };
    const message = told(kind === "dead" ? "" : ME, String(name));
    const isRepeat = this.rows().some(({ key }) => key === message.key);
    const row = kind === "dead" || isRepeat ? null : { ...message, at };
    this.log.push({ seq: this.seq, row });
    const isClear = kind !== "dead" && kind !== "unclear";
    return { seq: this.seq, prev, message: isClear ? message : null, stale: isRepeat };
  }

  /** The log is reset; messages that `persist` had not stored are lost. */
  beginAnew(unstored: number) {
    const rows = this.log.flatMap(({ row }) => (row ? [row] : []));
    this.stored.push(...rows.slice(0, Math.max(0, rows.length - unstored)));
    this.epoch += 1;
    this.seq = 0;
    this.log = [];
    this.forgotten = 0;
    this.hasBegunAnew = true;
  }

  /** The log is trimmed: it no longer knows the room's previous message. */
  forget() {
    this.forgotten = this.seq;
  }

  rows(): Stored[] {
    return [...this.stored, ...this.log.flatMap(({ row }) => (row ? [row] : []))];
  }

  answer(question: Question): Answer {
    // Like the service, whose head includes messages of other rooms.
    const head = { epoch: this.epoch, seq: this.seq };
    const rows = this.rows();
    if (question.type === "after") {
      const found = rows.filter(({ at }) => comparePositions(at, question.after) > 0);
      return { rows: found.slice(0, LIMIT), more: found.length > LIMIT, head };
    }
    const found =
      question.type === "last"
        ? rows
        : rows.filter(({ at }) => comparePositions(at, question.before) < 0);
    return { rows: found.slice(-LIMIT), more: found.length > LIMIT, head };
  }
}

function told(uid: string, id: string): Omit<Stored, "at"> {
  return { key: messageKey(uid, id), id, uid, name: "A", text: id, timestamp: 1, delivery: SENT };
}

/** A page that reaches the service through a network that delays, drops and disconnects. */
class Page {
  room: Room = EMPTY;
  readonly service = new Service();
  private onTheWay: Live[] = [];
  private answers: { turn: number; answer: Answer }[] = [];

  on(event: RoomEvent) {
    this.room = reduce(this.room, event);
    const { rows } = this.room;
    for (const [index, row] of rows.entries()) {
      const next = rows[index + 1];
      if (next && comparePositions(row.at, next.at) >= 0) throw new Error("rows out of order");
    }
    if (new Set(rows.map(({ key }) => key)).size !== rows.length) throw new Error("doubled");
  }

  publish(kind: Kind, id: number, isHeard: boolean) {
    const live = this.service.publish(kind, id);
    if (live && isHeard && this.room.joined) this.onTheWay.push(live);
  }

  /** The person's own message: its answer may overtake the live copy, which may be lost. */
  send(isHeard: boolean) {
    const live = this.service.publish("fresh", 0);
    if (!live?.message) return;
    if (isHeard && this.room.joined) this.onTheWay.push(live);
    this.on({ type: "acked", entry: live.message as Entry, timestamp: 1 });
  }

  ask(older: boolean) {
    const question = older ? olderQuestion(this.room) : nextQuestion(this.room);
    if (!question) return false;
    this.on({ type: "asked", question });
    this.answers.push({ turn: this.room.turn, answer: this.service.answer(question) });
    return true;
  }

  hear(isTwice = false) {
    const live = this.onTheWay.shift();
    if (!live) return;
    this.on({ type: "live", live });
    if (isTwice) this.on({ type: "live", live });
  }

  hearAnswer(index: number, isLost: boolean, isTwice: boolean) {
    const [found] = this.answers.splice(index % Math.max(1, this.answers.length), 1);
    if (!found) return;
    if (isLost) this.on({ type: "failed", turn: found.turn, problem: "lost" });
    else this.on({ type: "answered", ...found });
    if (isTwice) this.answers.push(found);
  }

  /** The connection ends, or the person opens another room. Answers in flight come late. */
  lose() {
    this.onTheWay = [];
    this.on({ type: "lost" });
  }

  join() {
    if (!this.room.joined) this.on({ type: "joined" });
  }

  /** The network works again. */
  calm() {
    this.on({ type: "held", isHeld: false });
    this.join();
    // The next message shows what was lost before it. A new epoch whose sequences have unnoticed
    // passed those of the old one shows only when the page checks the head, as it does every 30 s.
    if (this.service.hasBegunAnew) this.on({ type: "check" });
    else this.publish("fresh", 0, true);
    while (this.onTheWay.length > 0) this.hear();
    while (this.answers.length > 0) this.hearAnswer(0, false, false);
    if (this.room.problem !== null) this.on({ type: "retry" });
    for (let turns = 0; this.ask(false); turns += 1) {
      if (turns > 1_000) throw new Error("the page asks for ever");
      this.hearAnswer(0, false, false);
    }
  }

  /** The rows of a page that opens the room now, and scrolls as far back. */
  fresh(): Stored[] {
    const rows = this.service.rows();
    const count = Math.max(this.room.rows.length, Math.min(rows.length, 1));
    return count === 0 ? [] : rows.slice(-count);
  }
}

/** One event, as data, so that a failing test prints the events before it. */
type Step = readonly [act: string, ...values: (number | boolean | Kind)[]];

function act(page: Page, [name, a, b, c]: Step) {
  switch (name) {
    case "publish":
      return page.publish(a as Kind, Number(b), Boolean(c));
    case "send":
      return page.send(Boolean(a));
    case "ask":
      return page.ask(Boolean(a));
    case "hear":
      return page.hear(a === 0);
    case "answer":
      return page.hearAnswer(Number(a), b === 0, c === 0);
    case "lose":
      return page.lose();
    case "join":
      return page.join();
    case "hold":
      return page.on({ type: "held", isHeld: Boolean(a) });
    case "trim":
      return page.on({ type: "trimmed", keep: Number(a) + 1 });
    case "begin anew":
      return page.service.beginAnew(Number(a));
    case "forget":
      return page.service.forget();
    default:
      return page.on({ type: name as "check" | "retry" });
  }
}

const kind = fc.constantFrom<Kind>("fresh", "fresh", "repeat", "dead", "unclear", "elsewhere");

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.tuple(fc.constant("publish"), kind, fc.nat(4), fc.boolean()),
  },
  { weight: 3, arbitrary: fc.tuple(fc.constant("send"), fc.boolean()) },
  { weight: 8, arbitrary: fc.tuple(fc.constant("hear"), fc.nat(6)) },
  { weight: 8, arbitrary: fc.constant<Step>(["ask", false]) },
  { weight: 4, arbitrary: fc.constant<Step>(["ask", true]) },
  {
    weight: 10,
    arbitrary: fc.tuple(fc.constant("answer"), fc.nat(3), fc.nat(6), fc.nat(6)),
  },
  { weight: 1, arbitrary: fc.constant<Step>(["lose"]) },
  { weight: 5, arbitrary: fc.constant<Step>(["join"]) },
  { weight: 1, arbitrary: fc.constant<Step>(["check"]) },
  { weight: 2, arbitrary: fc.constant<Step>(["retry"]) },
  { weight: 2, arbitrary: fc.tuple(fc.constant("trim"), fc.nat(4)) },
  { weight: 2, arbitrary: fc.tuple(fc.constant("hold"), fc.boolean()) },
  { weight: 1, arbitrary: fc.constant<Step>(["forget"]) },
  { weight: 1, arbitrary: fc.tuple(fc.constant("begin anew"), fc.nat(4)) },
);

describe("a room", () => {
  it("ends equal to a fresh fetch in every order of events", () => {
    fc.assert(
      fc.property(fc.nat(10), fc.array(step, { maxLength: 60 }), (before, steps) => {
        const page = new Page();
        for (let id = 0; id < before; id += 1) page.publish("repeat", id, false);
        for (const one of steps) act(page, one);
        page.calm();
        expect(page.room.rows.map(({ at, key }) => ({ at, key }))).toEqual(
          page.fresh().map(({ at, key }) => ({ at, key })),
        );
        expect(page.room.hasOlder).toBe(page.service.rows().length > page.room.rows.length);
        expect([page.room.waiting, page.room.owed]).toEqual([[], []]);
      }),
      { numRuns: 5_000 },
    );
  });

  it("is reloaded with the first message of a recreated log", () => {
    const page = new Page();
    page.join();
    for (let count = 0; count < 5; count += 1) page.publish("fresh", 0, true);
    page.calm();
    expect(page.room.upto).toEqual({ epoch: 1, seq: 6 });
    page.service.beginAnew(4);
    page.service.hasBegunAnew = false;
    page.calm();
    expect(page.room.rows).toEqual(page.fresh());
    expect(page.room.upto).toEqual({ epoch: 2, seq: 1 });
  });

  it("that is joined again asks for missed messages", () => {
    const page = new Page();
    page.join();
    page.ask(false);
    page.hearAnswer(0, false, false);
    page.lose();
    page.publish("fresh", 0, false);
    page.join();
    expect(nextQuestion(page.room)).toEqual({ type: "after", after: { epoch: 1, seq: 0 } });
  });

  it("with more live messages than may wait for history ends equal to a fresh fetch", () => {
    const page = new Page();
    page.join();
    page.ask(false);
    page.hearAnswer(0, true, false);
    for (let count = 0; count < 1_200; count += 1) {
      page.publish("fresh", 0, true);
      page.hear(false);
    }
    expect(page.room.waiting.length).toBeLessThanOrEqual(500);
    page.calm();
    expect(page.room.rows).toEqual(page.fresh());
    expect(page.room.waiting).toEqual([]);
  });

  it("whose question failed asks again only on retry", () => {
    const page = new Page();
    page.join();
    page.ask(false);
    page.hearAnswer(0, false, false);
    page.on({ type: "check" });
    page.ask(false);
    page.hearAnswer(0, true, false);
    expect([page.room.problem, nextQuestion(page.room)]).toEqual(["lost", null]);
    page.on({ type: "retry" });
    expect(nextQuestion(page.room)?.type).toBe("after");
  });

  it("that was joined again ignores answers to earlier questions", () => {
    const page = new Page();
    page.join();
    page.ask(false);
    page.lose();
    page.publish("fresh", 0, false);
    page.join();
    page.ask(false);
    const { room } = page;
    page.hearAnswer(0, false, false);
    expect(page.room).toBe(room);
    page.hearAnswer(0, false, false);
    expect(page.room.rows).toHaveLength(1);
  });

  it("that was trimmed ignores a page that no longer borders on it", () => {
    const page = new Page();
    for (let count = 0; count < 9; count += 1) page.publish("fresh", 0, false);
    page.join();
    page.ask(false);
    page.hearAnswer(0, false, false);
    page.ask(true);
    page.on({ type: "trimmed", keep: 1 });
    page.hearAnswer(0, false, false);
    expect(page.room.rows.map(({ at }) => at.seq)).toEqual([9]);
  });

  it("that is ahead of its log is reloaded", () => {
    const page = new Page();
    page.join();
    page.publish("fresh", 0, false);
    page.ask(false);
    page.hearAnswer(0, false, false);
    const { message } = page.service.publish("fresh", 0) ?? {};
    page.on({ type: "live", live: { seq: 9, prev: 1, message: message ?? null, stale: false } });
    page.on({ type: "check" });
    expect(page.room.rows.map(({ at }) => at.seq)).toEqual([1, 9]);
    while (page.ask(false)) page.hearAnswer(0, false, false);
    expect(page.room.rows).toEqual(page.fresh());
  });
});
