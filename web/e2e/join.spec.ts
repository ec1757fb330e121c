import { setTimeout } from "node:timers/promises";
import type { Page } from "@playwright/test";
import { withStore } from "./held";
import { Network } from "./network";
import { random } from "./random";
import { figure, report } from "./report";
import { Stack } from "./stack";
import { test as base, expect } from "./test";
import { Writers, type Written } from "./writers";

/** `JOINS=1000 npm run e2e -- join` runs all of it. */
const JOINS = Number(process.env["JOINS"] ?? 100);
const PER_SECOND = Number(process.env["JOIN_RATE"] ?? 500);
const ROOMS = ["a", "b", "c", "d", "e"];

/** Once in so many joins the connection ends, and all rooms are joined again after what is loaded. */
const REJOINS = 20;

/** One join: what the page held after it, and what was acknowledged when it began. */
interface Join {
  readonly room: string;
  readonly kind: "anew" | "again";
  readonly acked: number;
  readonly held: readonly Written[];
}

const test = base.extend<object, { stack: Stack }>({
  stack: [
    // biome-ignore lint/correctness/noEmptyPattern: Playwright wants the pattern.
    async ({}, use) => {
      // One person writes as much as many do in production: no rate limit.
      const env = { CHAT_SEND__RATE: "100000", CHAT_SEND__BURST: "100000" };
      const stack = await Stack.start([], env);
      await use(stack);
      await stack.stop();
    },
    { scope: "worker" },
  ],
});

test(`${JOINS} joins at ${PER_SECOND} messages a second: each time one whole set, none twice`, async ({
  enter,
  stack,
}) => {
  // A guard: a join takes a quarter of a second, but many seconds on a busy machine.
  test.setTimeout(120_000 + JOINS * 15_000);
  const seed = Number(process.env["JOIN_SEED"] ?? Date.now() % 1_000_000);
  const next = random(seed);
  const network = await Network.start();
  const alice = await enter("alice", ROOMS[0], { proxy: network.proxy });
  await alice.page.evaluate(withStore);
  const writers = await Writers.start(stack, "bob", ROOMS, PER_SECOND);

  const joins: Join[] = [];
  const times: number[] = [];
  const start = performance.now();
  while (joins.length < JOINS) {
    await setTimeout(next(40));
    if (next(REJOINS) < 1) {
      joins.push(...(await joinAgain(alice.page, network, writers)));
      continue;
    }
    const room = ROOMS[Math.floor(next(ROOMS.length))] ?? "";
    const acked = writers.newest(room);
    const begin = performance.now();
    const held = await alice.page.evaluate(enterRoom, { room, anew: true });
    times.push(performance.now() - begin);
    joins.push({ room, kind: "anew", acked, held });
  }
  const seconds = (performance.now() - start) / 1000;
  await writers.stop();
  network.stop();

  const { messages, perSecond } = writers.reached;
  const rejoined = joins.filter(({ kind }) => kind === "again").length;
  figure(
    "joins under load",
    `${joins.length} in ${seconds.toFixed(0)} s, ${rejoined} of them after a lost connection; ` +
      `${messages} messages acknowledged, ${perSecond.toFixed(0)} a second; seed ${seed}`,
  );
  report("from joining to a live message behind the history", times, "ms");
  const sizes = joins.map(({ held }) => held.length);
  report("messages held after a join", sizes, "messages");
  expect(joins.flatMap((join) => violation(join, writers.all(join.room)))).toEqual([]);
  expect(Math.min(...sizes)).toBeGreaterThan(0);
});

/** Ends the connection. Every room is joined again, and checked. */
async function joinAgain(page: Page, network: Network, writers: Writers): Promise<Join[]> {
  const acked = ROOMS.map((room) => writers.newest(room));
  const back = page.evaluate(untilBack);
  network.sever();
  await back;
  const joins: Join[] = [];
  for (const [index, room] of ROOMS.entries()) {
    const held = await page.evaluate(enterRoom, { room, anew: false });
    joins.push({ room, kind: "again", acked: acked[index] ?? 0, held });
  }
  return joins;
}

/** Runs in the page: resolves once the connection has ended and another one is open. */
function untilBack(): Promise<void> {
  const store = window.findStore();
  let wasAway = false;
  return new Promise((done) => {
    const look = () => {
      const { state } = store.getSnapshot().link;
      wasAway ||= state === "offline";
      if (wasAway && state === "online") done();
    };
    store.subscribe(look);
    look();
  });
}

/**
 * Runs in the page: opens a room, with `anew` as one that is not listed, and waits until a live
 * message came after its history. Returns what the page then holds.
 */
function enterRoom({ room, anew }: { room: string; anew: boolean }): Promise<Written[]> {
  const store = window.findStore();
  const place = { realm: "chat", room } as const;
  if (anew) store.leaveRoom(place);
  store.openRoom(place);
  let history: number | undefined;
  return new Promise((done) => {
    const look = () => {
      const shown = store.getSnapshot().room;
      if (shown?.place.room !== room || shown.phase !== "ready" || shown.gap) return;
      const last = shown.entries.at(-1)?.at?.seq ?? 0;
      history ??= last;
      if (last === history) return;
      stop();
      // With everything read the room opens at the last page, without loading all pages since.
      store.markRead(place);
      done(shown.entries.map(({ text, at }) => [Number(text), at?.seq ?? 0]));
    };
    const stop = store.subscribe(look);
    look();
  });
}

/** Compares what a page held with the log. Returns the differences in words. */
function violation({ room, kind, acked, held }: Join, all: readonly Written[]): string[] {
  const where = `${room}, joined ${kind} when ${acked} was acknowledged`;
  const first = held[0]?.[1];
  const start = all.findIndex(([, seq]) => seq === first);
  if (start < 0) return [`${where}: begins with ${first}, which nobody wrote`];
  for (const [index, [number, seq]] of held.entries()) {
    const [rightNumber, rightSeq] = all[start + index] ?? [];
    if (number === rightNumber && seq === rightSeq) continue;
    return [`${where}: holds ${number} at ${seq} instead of ${rightNumber} at ${rightSeq}`];
  }
  const last = held.at(-1)?.[1] ?? 0;
  return last < acked ? [`${where}: ends at ${last}`] : [];
}
