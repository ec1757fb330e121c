import type { Page } from "@playwright/test";
import { serveFresh } from "./fresh-page";
import { seed } from "./seed";
import { expect, test } from "./test";

/** More messages than an open room keeps. */
const MANY = 1_400;

test("a room that stays open keeps its end, and lets go of what is far above", async ({
  enter,
  room,
  stack,
}) => {
  const alice = await enter("alice", room);
  const { page } = alice;
  await seed(stack, room, MANY);
  await expect(alice.message(`message ${MANY}`)).toBeInViewport();
  expect(await lastIndex(page)).toBeLessThan(1_000);
  await expect(page.getByRole("button", { name: "Jump to newest" })).toBeHidden();

  // A reader further up stays there, whatever arrives, and dropped messages are loaded again.
  await alice.page.getByRole("log").hover();
  await page.mouse.wheel(0, -3_000);
  await alice.looks();
  const before = await alice.topmost();
  await seed(stack, room, 60);
  await expect(page.getByRole("button", { name: "Jump to newest" })).toBeVisible();
  await alice.looks();
  expect(await alice.topmost()).toEqual(before);
  await expect(async () => {
    await page.getByRole("log").evaluate((log) => {
      log.scrollTop = 0;
    });
    await expect(alice.message("message 2").first()).toBeVisible({ timeout: 500 });
  }).toPass();
  await page.getByRole("button", { name: "Jump to newest" }).click();
  await expect(alice.message("message 60").last()).toBeInViewport();
  await expect.poll(() => lastIndex(page)).toBeLessThan(1_000);
  await expect(alice.message("message 60").last()).toBeInViewport();
});

/** The index of the last rendered message: one less than the page holds, at the end. */
function lastIndex(page: Page): Promise<number> {
  return page
    .locator("[data-index]")
    .evaluateAll((rows) => Math.max(...rows.map((row) => Number(row.getAttribute("data-index")))));
}

test("who reads further up for long stays there, and the room does not grow without end", async ({
  enter,
  room,
  stack,
}) => {
  await seed(stack, room, 60);
  const alice = await enter("alice", room);
  const { page } = alice;
  await expect(alice.message("message 60")).toBeInViewport();
  await page.getByRole("log").hover();
  await page.mouse.wheel(0, -1_000);
  await alice.looks();
  const before = await alice.topmost();
  await seed(stack, room, 4_000);
  await alice.looks();
  expect(await alice.topmost()).toEqual(before);

  await page.getByRole("log").evaluate((log) => {
    log.scrollTop = log.scrollHeight / 2;
  });
  await expect.poll(() => lastIndex(page)).toBeGreaterThan(500);
  await page.getByRole("button", { name: "Jump to newest" }).click();
  await expect(alice.message("message 4000")).toBeInViewport();
  await expect.poll(() => lastIndex(page)).toBeLessThan(1_300);
});

test("a page whose server does not answer at first begins by itself once it does", async ({
  browser,
  stack,
}) => {
  const context = await browser.newContext();
  await serveFresh(context, stack.page);
  let isUp = false;
  const held: (() => void)[] = [];
  // The first request is never answered, as over a half-open connection.
  await context.route("**/config.json", async (route) => {
    if (isUp) return route.continue();
    if (held.length > 0) return route.abort();
    await new Promise<void>((resolve) => held.push(resolve));
  });
  const page = await context.newPage();
  const start = Date.now();
  await page.goto(stack.page);

  const away = page.getByText("The page's server does not answer.");
  await expect(away).toBeVisible();
  expect(Date.now() - start).toBeLessThan(15_000);
  isUp = true;
  await expect(away).toBeHidden();
  await page.getByLabel("User name").fill("alice");
  await page.getByLabel("Password").fill("alice123");
  await page.getByRole("button", { name: "Log in" }).click();
  await expect(page.getByRole("log", { name: "general" })).toBeVisible();
  for (const release of held) release();
  await context.close();
});
