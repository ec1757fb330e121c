import type { Locator } from "@playwright/test";
import type { Person } from "./person";
import { seed } from "./seed";
import { expect, test } from "./test";

const TALL = Array.from({ length: 80 }, (_, index) => `line ${index + 1}`).join("\n");

test("a very tall message is folded, and its beginning stays where it is when it is not", async ({
  enter,
  room,
  stack,
}) => {
  await seed(stack, room, 30);
  const bob = await enter("bob", room);
  await bob.write(TALL);
  const alice = await enter("alice", room);
  const message = alice.messages.filter({ hasText: "line 80" });
  await expect(message).toBeInViewport();
  const folded = await height(message);
  expect(folded).toBeLessThan(500);

  // Away from the end, where the list would stay at the end.
  const more = message.getByRole("button", { name: "Show more", expanded: false });
  await expect(more).toBeInViewport();
  const before = await top(message);
  await more.focus();
  await alice.page.keyboard.press("Enter");
  const less = message.getByRole("button", { name: "Show less", expanded: true });
  await expect(less).toBeFocused();
  expect(await height(message)).toBeGreaterThan(1_000);
  await alice.looks();
  expect(await top(message)).toBe(before);
  await expect(alice.page.getByRole("button", { name: "Jump to newest" })).toBeVisible();

  // It stays unfolded after scrolling away and back.
  await alice.page.locator("[role=log]").evaluate((log) => log.scrollTo(0, 0));
  await expect(message).toHaveCount(0);
  await alice.page.getByRole("button", { name: "Jump to newest" }).click();
  await expect(less).toBeInViewport();

  // Folding it from its end scrolls to its beginning.
  await less.click();
  await expect(more).toBeInViewport();
  expect(await height(message)).toBe(folded);
  await inside(alice, message);
});

test("folded messages let what one reads stay where it is while one scrolls up", async ({
  enter,
  room,
  stack,
}) => {
  await seed(stack, room, 10);
  const bob = await enter("bob", room);
  for (let round = 0; round < 8; round += 1) {
    await bob.write(TALL);
    await bob.write(`between ${round}`);
  }
  await expect(bob.message("between 7")).toHaveAttribute("data-state", "sent");
  const alice = await enter("alice", room);
  await expect(alice.message("between 7")).toBeInViewport();

  const moves = await alice.page.locator("[role=log]").evaluate(scrollUp);

  expect(moves.length).toBeGreaterThan(20);
  expect(Math.max(...moves)).toBeLessThanOrEqual(1);
});

test("a link in the part of a message that is folded unfolds it when the keyboard gets there", async ({
  enter,
  room,
}) => {
  const alice = await enter("alice", room);
  await alice.write(`${TALL}\nhttps://a.example`);
  const message = alice.messages.first();
  await message.focus();
  await alice.page.keyboard.press("Tab");
  const link = message.getByRole("link", { name: "https://a.example" });
  for (let step = 0; step < 6 && !(await link.evaluate(isFocused)); step += 1) {
    await alice.page.keyboard.press("Tab");
  }
  await expect(link).toBeFocused();
  await expect(link).toBeInViewport();
  await expect(message.getByRole("button", { name: "Show less" })).toBeVisible();
});

const height = (element: Locator) => element.evaluate((one) => one.getBoundingClientRect().height);
const top = (element: Locator) => element.evaluate((one) => one.getBoundingClientRect().top);

function isFocused(element: Element): boolean {
  return element === document.activeElement;
}

/** Expects the beginning of the message in view. */
async function inside({ page }: Person, message: Locator): Promise<void> {
  const log = await top(page.locator("[role=log]"));
  expect(await top(message)).toBeGreaterThanOrEqual(log - 1);
}

/**
 * Scrolls up in steps, and returns for each step by how much more or less than expected a message
 * moved that is in view before and after it.
 */
async function scrollUp(log: Element): Promise<number[]> {
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  const middle = log.getBoundingClientRect().top + log.clientHeight / 2;
  const wrong: number[] = [];
  while (log.scrollTop > 0) {
    const seen = [...log.querySelectorAll("article")].find(
      (article) => article.getBoundingClientRect().bottom > middle,
    );
    const before = seen?.getBoundingClientRect().top ?? 0;
    const step = Math.min(60, log.scrollTop);
    log.scrollTop -= step;
    await frame();
    await frame();
    const moved = (seen?.getBoundingClientRect().top ?? 0) - before;
    if (log.contains(seen ?? null)) wrong.push(Math.abs(moved - step));
  }
  return wrong;
}
