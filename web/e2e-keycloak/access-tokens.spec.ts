import { setTimeout } from "node:timers/promises";
import type { Page } from "@playwright/test";
import { withStore } from "../e2e/held";
import { figure, report } from "../e2e/report";
import { Writers } from "../e2e/writers";
import { expect, test } from "./test";

const MINUTES = Number(process.env["TOKEN_MINUTES"] ?? 5);
const PER_SECOND = 20;

declare global {
  interface Window {
    /** What the page has shown: sequence and text of each message, and how long it was offline. */
    shown: { messages: Map<number, string>; twice: string[]; away: number[] };
  }
}

test(`tokens of 60 s for ${MINUTES} minutes under load: nothing is lost or doubled`, async ({
  signIn,
  stack,
  room,
}) => {
  test.setTimeout(120_000 + MINUTES * 60_000);
  const [alice, bob] = [await signIn("alice", room), await signIn("bob", room)];
  for (const { page } of [alice, bob]) {
    await page.evaluate(withStore);
    await page.evaluate(watch);
  }
  const writers = await Writers.start(stack, "bob", [room], PER_SECOND);
  const end = Date.now() + MINUTES * 60_000;
  const own: string[] = [];
  while (Date.now() < end) {
    own.push(`alice ${own.length}`);
    await alice.write(own.at(-1) ?? "");
    await setTimeout(500);
  }
  await writers.stop();
  await expect(alice.page.locator("article:not([data-state=sent])")).toHaveCount(0);
  await expect(bob.message(own.at(-1) ?? "")).toBeVisible();

  const written = writers.all(room).map(([number]) => String(number));
  for (const { page, name } of [alice, bob]) {
    const { texts, twice, away } = await shown(page);
    report(`${name} was offline at the end of a token`, away, "ms");
    expect(twice).toEqual([]);
    expect(texts.filter((text) => own.includes(text))).toEqual(own);
    // The first ones were written before the page watched.
    expect(texts.filter((text) => !own.includes(text))).toEqual(written);
    expect(away.length).toBeGreaterThanOrEqual(MINUTES - 1);
    expect(Math.max(...away)).toBeLessThan(1_000);
  }
  figure(
    "under load",
    `${written.length} messages by ${PER_SECOND} a second, ${own.length} by alice`,
  );
});

/** Runs in the page: notes everything that it shows. */
function watch(): void {
  const store = window.findStore();
  const noted: Window["shown"] = { messages: new Map(), twice: [], away: [] };
  window.shown = noted;
  let since: number | null = null;
  store.subscribe(() => {
    const { room, link } = store.getSnapshot();
    if (link.state === "offline") since ??= performance.now();
    else if (since !== null) {
      noted.away.push(performance.now() - since);
      since = null;
    }
    const texts = new Set<string>();
    for (const { text, at } of room?.entries ?? []) {
      if (texts.has(text)) noted.twice.push(text);
      texts.add(text);
      if (at) noted.messages.set(at.seq, text);
    }
  });
}

async function shown(page: Page) {
  return page.evaluate(() => {
    const { messages, twice, away } = window.shown;
    const texts = [...messages].sort(([a], [b]) => a - b).map(([, text]) => text);
    return { texts, twice, away };
  });
}
