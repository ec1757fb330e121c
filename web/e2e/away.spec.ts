import { setTimeout } from "node:timers/promises";
import { fallAsleep } from "./asleep";
import { withStore } from "./held";
import { Network } from "./network";
import type { Person } from "./person";
import { figure } from "./report";
import { seed } from "./seed";
import { PATIENT, type Stack } from "./stack";
import { test as base, expect } from "./test";

const QUEUED = ["queued 1", "queued 2", "queued 3"];
const MEANWHILE = ["meanwhile 1", "meanwhile 2"];

const test = base.extend<{ network: Network }>({
  // biome-ignore lint/correctness/noEmptyPattern: Playwright wants the pattern.
  network: async ({}, use) => {
    const network = await Network.start();
    await use(network);
    network.stop();
  },
});

const OUTAGES = [
  { what: "5 s", seconds: 5, end: (network: Network) => network.heal() },
  {
    what: "5 s, in another network after it",
    seconds: 5,
    end: (it: Network) => it.healElsewhere(),
  },
  { what: "60 s", seconds: 60, end: (network: Network) => network.healElsewhere() },
];

for (const { what, seconds, end } of OUTAGES) {
  test(`away for ${what}: nothing is lost or doubled, and all is as one left it`, async ({
    enter,
    network,
    room,
    stack,
  }) => {
    await seed(stack, room, 120);
    const before = await stored(stack, room);
    const alice = await enter("alice", room);
    const bob = await enter("bob", room, { proxy: network.proxy });
    for (const person of [alice, bob]) await readAll(person, before.length);

    network.cut();
    const cut = Date.now();
    for (const text of QUEUED) await bob.write(text);
    await toMiddle(bob);
    await bob.field.fill("a draft");
    for (const text of MEANWHILE) await alice.write(text);
    const place = await bob.topmost();
    if (seconds > 10) {
      await expect(bob.page.getByText("You are offline")).toBeVisible();
      figure(`away for ${what}: noticed after`, `${Date.now() - cut} ms`);
      await expect(bob.page.getByText("3 messages wait")).toBeVisible();
    }
    await setTimeout(cut + seconds * 1000 - Date.now());
    end(network);
    const ended = Date.now();

    const all = [...before, ...MEANWHILE, ...QUEUED];
    const held = await bob.page.evaluate(untilHeld, all.length);
    figure(`away for ${what}: whole again after`, `${Date.now() - ended} ms`);
    expect(held).toEqual(all);
    expect(await stored(stack, room)).toEqual(all);
    expect(await alice.page.evaluate(untilHeld, all.length)).toEqual(all);
    await expect(bob.status).toHaveText("Connected");
    await expect(bob.page.getByText("You are offline")).toBeHidden();
    await expect(bob.field).toHaveValue("a draft");
    expect(await bob.topmost()).toEqual(place);
  });
}

test("a laptop sleeps, and wakes in another network: nothing is missing", async ({
  browser,
  enter,
  network,
  room,
  stack,
}) => {
  await seed(stack, room, 20);
  const before = await stored(stack, room);
  const bob = await enter("bob", room, { proxy: network.proxy });
  await bob.page.evaluate(withStore);
  await bob.field.fill("a draft");

  const wake = await fallAsleep(browser);
  network.cut();
  const alice = await stack.connect("alice");
  for (const text of MEANWHILE) {
    await alice.request(
      `chat.send.${room}`,
      JSON.stringify({ id: text.replace(" ", "-"), text }),
      PATIENT,
    );
  }
  await alice.close();
  await setTimeout(5_000);
  network.healElsewhere();
  wake();
  const woken = Date.now();

  const all = [...before, ...MEANWHILE];
  const held = await bob.page.evaluate(untilHeld, all.length);
  figure("woken: whole again after", `${Date.now() - woken} ms`);
  expect(held).toEqual(all);
  await expect(bob.field).toHaveValue("a draft");
  await bob.write("after it");
  expect(await bob.page.evaluate(untilHeld, all.length + 1)).toEqual([...all, "after it"]);
});

/** Loads older messages until the page holds the whole room. */
async function readAll({ page }: Person, count: number): Promise<void> {
  await page.evaluate(withStore);
  await page.locator("[role=log]").evaluate((log) => log.scrollTo(0, 0));
  await page.evaluate(untilHeld, count);
}

async function toMiddle(person: Person): Promise<void> {
  await person.page.locator("[role=log]").evaluate((log) => log.scrollTo(0, log.scrollHeight / 2));
  await person.looks();
}

/** Runs in the page: resolves once it holds `count` messages, all of them in the log. */
function untilHeld(count: number): Promise<string[]> {
  const store = window.findStore();
  return new Promise((done) => {
    const look = () => {
      const entries = store.getSnapshot().room?.entries ?? [];
      const isWhole = entries.length >= count && entries.every(({ at }) => at !== null);
      if (isWhole) done(entries.map(({ text }) => text));
    };
    store.subscribe(look);
    look();
  });
}

/** What a fresh request to history returns: the room as it is in the database and the log. */
async function stored(stack: Stack, room: string): Promise<string[]> {
  const bob = await stack.connect("bob");
  const answer = await bob.request(`chat.history.${room}`, JSON.stringify({ limit: 200 }), PATIENT);
  await bob.close();
  return answer.json<{ text: string }[]>().map(({ text }) => text);
}
