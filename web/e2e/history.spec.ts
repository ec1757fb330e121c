import type { Person } from "./person";
import { Stack } from "./stack";
import { test as base, expect } from "./test";

// `history` runs in a process of its own, so that it can be stopped.
const test = base.extend<object, { stack: Stack }>({
  stack: [
    // biome-ignore lint/correctness/noEmptyPattern: Playwright wants the pattern.
    async ({}, use) => {
      const stack = await Stack.start(["history", "admin-history"]);
      await use(stack);
      await stack.stop();
    },
    { scope: "worker" },
  ],
});

test("without history a room says so at once, live goes on, and Retry brings it back", async ({
  enter,
  room,
  stack,
}) => {
  const alice = await enter("alice", room);
  await expect(alice.page.getByText("History is unavailable")).toBeVisible();
  await expect(alice.page.getByText("No messages yet")).toBeHidden();
  const bob = await enter("bob", room);

  await alice.write("live all the same");
  await expect(bob.message("live all the same")).toBeVisible();
  await expect(alice.message("live all the same")).toHaveAttribute("data-state", "sent");
  await expect(alice.page.getByText("This is the beginning of")).toBeHidden();

  const history = stack.serve("history", "admin-history");
  await retry(bob);
  await bob.sees(["live all the same"]);
  await stack.end(history);
});

test("an answer that comes late never shows in another room", async ({ enter, room, stack }) => {
  const history = stack.serve("history", "admin-history");
  const alice = await enter("alice", `${room}-a`);
  await retry(alice);
  await expect(alice.page.getByText("No messages yet")).toBeVisible();
  await alice.write("of room a");
  await alice.sees(["of room a"]);

  history.kill("SIGSTOP");
  await alice.page.reload();
  await expect(alice.log(`${room}-a`)).toHaveAttribute("aria-busy", "true");
  await alice.page.evaluate((hash) => {
    location.hash = hash;
  }, `#/chat/${room}-b`);
  await expect(alice.log(`${room}-b`)).toHaveAttribute("aria-busy", "true");
  history.kill("SIGCONT");

  await expect(alice.page.getByText("No messages yet")).toBeVisible();
  expect(await alice.texts()).toEqual([]);
  await alice.open(`${room}-a`);
  await alice.sees(["of room a"]);
  await stack.end(history);
});

test("while history hangs live goes on, a room says so, and is whole by itself afterwards", async ({
  enter,
  room,
  stack,
}) => {
  const history = stack.serve("history", "admin-history");
  const alice = await enter("alice", room);
  await retry(alice);
  const bob = await enter("bob", room);
  for (const text of ["one", "two"]) await bob.write(text);
  await alice.sees(["one", "two"]);

  history.kill("SIGSTOP");
  await alice.page.reload();
  await expect(alice.status).toHaveText("Connected");
  await bob.write("three");
  await expect(alice.message("three")).toBeVisible();
  await expect(alice.page.getByText("History is unavailable")).toBeVisible();
  await expect(alice.page.getByText("This is the beginning of")).toBeHidden();
  await bob.write("four");
  await expect(alice.message("four")).toBeVisible();
  history.kill("SIGCONT");

  await alice.sees(["one", "two", "three", "four"]);
  await expect(alice.page.getByText("History is unavailable")).toBeHidden();
  await stack.end(history);
});

/** Retries until `history`, which was just started, answers. */
async function retry({ page }: Person): Promise<void> {
  const button = page.getByRole("button", { name: "Retry" });
  await expect(async () => {
    if (await button.isVisible()) await button.click();
    await expect(page.getByText("History is unavailable")).toBeHidden({ timeout: 500 });
  }).toPass();
}
