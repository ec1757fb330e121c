import type { Locator } from "@playwright/test";
import { seed } from "./seed";
import { expect, test } from "./test";

const PHONE = { viewport: { width: 360, height: 640 }, hasTouch: true, isMobile: true };
const TALL = Array.from({ length: 80 }, (_, index) => `line ${index + 1}`).join("\n");

test("on a phone the way to the newest message is a round button in the corner", async ({
  enter,
  room,
  stack,
}) => {
  await seed(stack, room, 30);
  const alice = await enter("alice", room, PHONE);
  await alice.write(TALL);
  await alice.write("below");
  const more = alice.page.getByRole("button", { name: "Show more" });
  await expect(more).toBeInViewport();
  await alice.page.locator("[role=log]").evaluate((log) => log.scrollBy(0, -60));
  const jump = await boxOf(alice.page.getByRole("button", { name: "Jump to newest" }));
  expect(jump).toMatchObject({ width: 44, height: 44 });
  expect(jump.right).toBeGreaterThan(340);
  expect(jump.left).toBeGreaterThan((await boxOf(more)).right);
});

/** Where it stands on the screen. */
function boxOf(one: Locator) {
  return one.evaluate((element) => {
    const { left, right, top, bottom, width, height } = element.getBoundingClientRect();
    return { left, right, top, bottom, width, height };
  });
}
