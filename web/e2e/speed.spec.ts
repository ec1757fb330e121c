import type { NatsConnection } from "@nats-io/transport-node";
import type { Page } from "@playwright/test";
import type { Person } from "./person";
import { at, report } from "./report";
import { seed } from "./seed";
import { expect, test } from "./test";

const ROOMS = 20;
const SENT = 80;
const SENT_PER_SECOND = 10;
/** Together with the measured messages this makes 50 per second. */
const OTHERS_PER_SECOND = 40;

test("a room's history is on the screen soon after it was entered", async ({
  enter,
  room,
  stack,
}) => {
  const rooms = Array.from({ length: ROOMS }, (_, index) => `${room}-${index}`);
  for (const name of rooms) await seed(stack, name, 50);
  const alice = await enter("alice", room);

  const times: number[] = [];
  for (const name of rooms) times.push(await alice.page.evaluate(enterAndWait, name));

  report("from entering a room to its history on the screen", times, "ms");
  expect(at(times, 0.5)).toBeLessThan(1000);
});

test("a message is on the other's screen soon after Enter, at 50 messages a second", async ({
  enter,
  room,
  stack,
}) => {
  const alice = await enter("alice", room);
  const bob = await enter("bob", room);
  const sent = await listen(alice.page, watchEnter);
  const seen = await listen(bob.page, watchScreen);
  const backend = await stack.connect("backend");
  const stop = chatter(backend, room);

  await writeSteadily(alice);
  await expect.poll(() => seen.size).toBe(SENT);
  stop();
  await backend.close();

  const times = [...sent].map(([text, at]) => (seen.get(text) ?? Number.NaN) - at);
  report("from Enter to the other's screen, at 50 messages/s", times, "ms");
  expect(times).toHaveLength(SENT);
  expect(at(times, 0.5)).toBeLessThan(1000);
});

/** Runs in the page: opens a room, and measures the time until a frame shows its messages. */
async function enterAndWait(room: string): Promise<number> {
  const frame = () => new Promise<number>((done) => requestAnimationFrame(done));
  const start = performance.now();
  location.hash = `#/chat/${room}`;
  while (!document.querySelector(`[role=log][aria-label="${room}"] article`)) await frame();
  // They are visible in the frame after the one in which they were added.
  return (await frame()) - start;
}

/** A page's report: a text, and its time by the clock that both browsers share. */
type Note = (text: string, at: number) => void;

async function listen(page: Page, watch: () => void): Promise<Map<string, number>> {
  const notes = new Map<string, number>();
  const note: Note = (text, at) => notes.set(text, at);
  await page.exposeFunction("note", note);
  await page.evaluate(watch);
  return notes;
}

function watchEnter(): void {
  const { note } = window as unknown as { note: Note };
  window.addEventListener(
    "keydown",
    ({ key, target }) => {
      if (key !== "Enter" || !(target instanceof HTMLTextAreaElement)) return;
      note(target.value, performance.timeOrigin + performance.now());
    },
    { capture: true },
  );
}

function watchScreen(): void {
  const { note } = window as unknown as { note: Note };
  const known = new Set<string>();
  const look = () => {
    for (const { textContent: text } of document.querySelectorAll("article .text")) {
      if (!text?.startsWith("measured ") || known.has(text)) continue;
      known.add(text);
      requestAnimationFrame(() => note(text, performance.timeOrigin + performance.now()));
    }
  };
  new MutationObserver(look).observe(document.body, { childList: true, subtree: true });
}

/** Writes in the room at an even rate until the returned function is called. */
function chatter(backend: NatsConnection, room: string): () => void {
  let count = 0;
  const timer = setInterval(() => {
    count += 1;
    const message = { user: `Guest ${count % 7}`, text: `chatter ${count}`, timestamp: Date.now() };
    backend.publish(`chat.${room}`, JSON.stringify(message));
  }, 1000 / OTHERS_PER_SECOND);
  return () => clearInterval(timer);
}

async function writeSteadily(person: Person): Promise<void> {
  const start = Date.now();
  for (let count = 0; count < SENT; count += 1) {
    const due = start + (count * 1000) / SENT_PER_SECOND;
    await new Promise((done) => setTimeout(done, Math.max(0, due - Date.now())));
    await person.write(`measured ${count}`);
  }
}
