import { randomUUID } from "node:crypto";
import { LOOKS_MS, Loss, withoutTimer } from "./loss";
import type { Person } from "./person";
import { PATIENT } from "./stack";
import { test as base, expect } from "./test";

interface Fixtures {
  /** Writes in the test's room from another connection. */
  say: (text: string) => Promise<void>;
  /** Whether bob's page checks the room's head by timer. */
  hasTimer: boolean;
  /** Drops live messages on bob's connection. */
  loss: Loss;
  /** Bob in the test's room, with the message `FIRST`, on a lossy connection. */
  bob: Person;
}

const FIRST = "one";

/** Events that a browser fires, and their targets. */
const OCCASIONS = [
  ["window", "focus"],
  ["window", "online"],
  ["window", "offline"],
  ["document", "visibilitychange"],
  ["document", "resume"],
] as const;

const test = base.extend<Fixtures>({
  say: async ({ room, stack }, use) => {
    const alice = await stack.connect("alice");
    await use(async (text) => {
      const draft = { id: randomUUID(), text };
      const answer = await alice.request(`chat.send.${room}`, JSON.stringify(draft), PATIENT);
      expect(answer.json()).toMatchObject({ id: draft.id });
    });
    await alice.close();
  },

  hasTimer: [false, { option: true }],

  bob: async ({ room, visit }, use) => use(await visit("bob", `#/chat/${room}`)),

  loss: async ({ bob, hasTimer, say }, use) => {
    const loss = await Loss.between(bob.page);
    await bob.page.clock.install();
    if (!hasTimer) await withoutTimer(bob.page);
    await bob.page.reload();
    await say(FIRST);
    await bob.logIn();
    await bob.sees([FIRST]);
    await use(loss);
  },
});

test("a lost live message is missed as the next one comes, and shows in its place", async ({
  bob,
  loss,
  say,
}) => {
  const lost = loss.lose("two");
  await say("two");
  await lost;
  expect(await bob.texts()).toEqual([FIRST]);
  await say("three");
  await expect.poll(() => bob.texts()).toEqual([FIRST, "two", "three"]);
  await say("four");
  await bob.sees([FIRST, "two", "three", "four"]);
});

test("a lost newest message comes as soon as one returns to the page, or the network does", async ({
  bob,
  loss,
  say,
}) => {
  const all = [FIRST];
  for (const [count, [target, event]] of OCCASIONS.entries()) {
    // After a check, switching windows causes no other one for a while.
    await bob.page.clock.setSystemTime(Date.now() + (count + 1) * 60_000);
    const text = `before ${event}`;
    const lost = loss.lose(text);
    await say(text);
    await lost;
    expect(await bob.texts()).toEqual(all);
    all.push(text);
    await bob.page.evaluate(happen, { target, event });
    await expect.poll(() => bob.texts(), { message: event }).toEqual(all);
  }
});

test.describe("by itself", () => {
  test.use({ hasTimer: true });

  test("a lost newest message comes within 30 s also where nothing happens", async ({
    bob,
    loss,
    say,
  }) => {
    const lost = loss.lose("two");
    await say("two");
    await lost;
    expect(await bob.texts()).toEqual([FIRST]);
    await bob.page.clock.fastForward(LOOKS_MS);
    await expect.poll(() => bob.texts()).toEqual([FIRST, "two"]);
  });
});

/** Runs in the page: fires the event. */
function happen({ target, event }: { target: "window" | "document"; event: string }): void {
  (target === "window" ? window : document).dispatchEvent(new Event(event));
}
