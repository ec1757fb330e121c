import type { Page } from "@playwright/test";
import { at, report } from "./report";
import { seed } from "./seed";
import { expect, test } from "./test";

const LONG = 10_000;
/** The most rows in the document at any time, however long the room is. */
const MOST_ROWS = 80;

test("10,000 messages scroll smoothly, to the first one and back", async ({
  enter,
  room,
  stack,
}) => {
  test.setTimeout(120_000);
  await seed(stack, room, LONG);
  const alice = await enter("alice", room);
  const { page } = alice;
  await expect(alice.message(`message ${LONG}`)).toBeVisible();

  const first = alice.messages.first();
  while (!(await first.textContent())?.includes("message 1, with")) {
    await toTop(page);
    await settle(page);
  }
  await expect(page.getByText("This is the beginning of")).toBeInViewport();
  expect(await alice.messages.count()).toBeLessThan(MOST_ROWS);

  const frames = await frameTimes(page);
  await page.getByRole("button", { name: "Jump to newest" }).click();
  await expect(alice.message(`message ${LONG}`)).toBeVisible();
  report("frame while scrolling through 10,000 messages", frames, "ms");
  expect(frames.length).toBeGreaterThan(30);
  // Software rendering on a busy machine is slow, but a freeze would be far slower.
  expect(at(frames, 0.5)).toBeLessThan(50);
});

test("older messages come in above, and what one reads stays where it is", async ({
  enter,
  room,
  stack,
}) => {
  await seed(stack, room, 300);
  const alice = await enter("alice", room);
  await expect(alice.message("message 300")).toBeVisible();

  const moves = await alice.page.evaluate(readWhileOlderComeIn);

  expect(moves.grown).toBeGreaterThan(500);
  expect(moves.places).toHaveLength(1);
});

test("a burst of 300 messages is shown whole and in order", async ({ enter, room, stack }) => {
  const alice = await enter("alice", room, { viewport: { width: 800, height: 20_000 } });
  await seed(stack, room, 300);
  await expect(alice.messages).toHaveCount(300);

  // They were published concurrently: the order is the log's, and the same after a refresh.
  const live = await alice.texts();
  expect(new Set(live).size).toBe(300);
  await alice.page.reload();
  await toTop(alice.page);
  await expect.poll(() => alice.texts()).toEqual(live);
});

test("the list follows new messages only at its end", async ({ enter, room, stack }) => {
  await seed(stack, room, 60);
  const alice = await enter("alice", room);
  const bob = await enter("bob", room);
  await bob.write("follows");
  await expect(alice.message("follows")).toBeInViewport();

  await alice.page.locator("[role=log]").hover();
  await alice.page.mouse.wheel(0, -1200);
  await expect(alice.message("follows")).not.toBeInViewport();
  await settle(alice.page);
  const before = await alice.topmost();
  await bob.write("does not follow");
  const jump = alice.page.getByRole("button", { name: "Jump to newest" });
  await expect(jump).toContainText("1");
  expect(await alice.topmost()).toEqual(before);

  await jump.click();
  await expect(alice.message("does not follow")).toBeInViewport();
  await expect(jump).toBeHidden();
});

test("a permalink leads to its message and marks it", async ({ enter, room, stack }) => {
  await seed(stack, room, 400);
  const alice = await enter("alice", room, { permissions: ["clipboard-read", "clipboard-write"] });
  await toTop(alice.page);
  const old = alice.message("message 352");
  await old.scrollIntoViewIfNeeded();
  await old.hover();
  await old.getByRole("button", { name: "Copy link" }).click();
  await expect(old.getByRole("button", { name: "Copied" })).toBeVisible();
  const link = await alice.page.evaluate(() => navigator.clipboard.readText());
  expect(link).toMatch(new RegExp(`/#/chat/${room}/\\d+\\.\\d+$`));
  await old
    .getByRole("button", { name: "Copied" })
    .or(old.getByRole("button", { name: "Copy text" }))
    .last()
    .hover();

  const bob = await enter("bob");
  await bob.page.goto(link);

  await expect(bob.message("message 352")).toBeInViewport();
  await expect(bob.message("message 352")).toHaveAttribute("data-target", "true");
});

function toTop(page: Page): Promise<void> {
  return page.locator("[role=log]").evaluate((log) => log.scrollTo(0, 0));
}

/** Waits two frames: effects of a scroll have been drawn. */
function settle(page: Page): Promise<void> {
  return page.evaluate(
    () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done()))),
  );
}

/** Scrolls for two seconds, as fast as by hand, and measures each frame. */
function frameTimes(page: Page): Promise<number[]> {
  return page.locator("[role=log]").evaluate(async (log) => {
    const times: number[] = [];
    const start = performance.now();
    let last = start;
    while (last - start < 2000) {
      log.scrollTop += 120;
      const now = await new Promise<number>((done) => requestAnimationFrame(done));
      times.push(now - last);
      last = now;
    }
    return times.slice(1);
  });
}

/** Scrolls near the top and records the position of the topmost message in each frame. */
async function readWhileOlderComeIn(): Promise<{ places: number[]; grown: number }> {
  const log = document.querySelector("[role=log]");
  if (!log) throw new Error("no log");
  const frame = () => new Promise<number>((done) => requestAnimationFrame(done));
  const height = log.scrollHeight;
  log.scrollTop = 60;
  await frame();
  const top = log.getBoundingClientRect().top;
  const inView = [...log.querySelectorAll("article")].find(
    (article) => article.getBoundingClientRect().top > top,
  );
  const text = inView?.querySelector(".text")?.textContent;
  const places = new Set<number>();
  const start = performance.now();
  let last = start;
  while (last - start < 2000) {
    const same = [...log.querySelectorAll(".text")].find((one) => one.textContent === text);
    if (same) places.add(Math.round(same.getBoundingClientRect().top));
    last = await frame();
  }
  return { places: [...places], grown: log.scrollHeight - height };
}
