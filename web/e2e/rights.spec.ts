import { Stack } from "./stack";
import { test as base, expect } from "./test";

// Its own stack: the configuration of its nats-server is reloaded.
const test = base.extend<object, { stack: Stack }>({
  stack: [
    // biome-ignore lint/correctness/noEmptyPattern: Playwright wants the pattern.
    async ({}, use) => {
      const stack = await Stack.start();
      await use(stack);
      await stack.stop();
    },
    { scope: "worker" },
  ],
});

const RIGHT = '"_INBOX.u.bob.>", "live.chat.*"';

test("a right that is taken and given back shows, and then the room is whole and live again", async ({
  enter,
  room,
  stack,
}) => {
  const [alice, bob] = [await enter("alice", room), await enter("bob", room)];
  await alice.write("before");
  await bob.sees(["before"]);

  await stack.reconfigure((text) => text.replace(RIGHT, '"_INBOX.u.bob.>"'));
  await expect(bob.page.getByText("You may not read this room")).toBeVisible();
  await alice.write("meanwhile");
  await alice.sees(["before", "meanwhile"]);

  await stack.reconfigure((text) => text.replace('"_INBOX.u.bob.>"', RIGHT));
  const given = Date.now();
  await bob.sees(["before", "meanwhile"]);
  expect(Date.now() - given).toBeLessThan(10_000);
  await alice.write("after");
  await expect(bob.message("after")).toBeVisible({ timeout: 10_000 });
});
