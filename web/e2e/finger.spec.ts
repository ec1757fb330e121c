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
  // When it is sent the page shows its end once more.
  await expect(alice.message("below")).toHaveAttribute("data-state", "sent");
  await alice.looks();
  const more = alice.page.getByRole("button", { name: "Show more" });
  await expect(more).toBeInViewport();
  await alice.page.locator("[role=log]").evaluate((log) => log.scrollBy(0, -60));
  const jump = await boxOf(alice.page.getByRole("button", { name: "Jump to newest" }));
  expect(jump).toMatchObject({ width: 44, height: 44 });
  expect(jump.right).toBeGreaterThan(340);
  expect(jump.left).toBeGreaterThan((await boxOf(more)).right);
});

for (const look of [PHONE, { viewport: { width: 1440, height: 500 } }]) {
  test(`what one can do with a message stands within the list, ${look.viewport.width} px`, async ({
    enter,
    room,
    stack,
  }) => {
    await seed(stack, room, 30);
    const alice = await enter("alice", room, look);
    await alice.write(TALL);
    await alice.write("below");
    const tall = alice.messages.filter({ hasText: "line 80" });
    await expect(alice.message("below")).toHaveAttribute("data-state", "sent");
    await alice.looks();
    const log = alice.page.locator("[role=log]");
    await tall.focus();
    await tall.evaluate((one) => {
      const log = one.closest("[role=log]");
      const top = log?.getBoundingClientRect().top ?? 0;
      log?.scrollBy(0, one.getBoundingClientRect().top - top + 8);
    });
    await alice.looks();
    const actions = tall.locator(".actions");
    expect((await boxOf(actions)).top).toBeGreaterThanOrEqual((await boxOf(log)).top);

    await log.evaluate((log) => log.scrollTo(0, log.scrollHeight));
    const last = alice.message("below");
    await last.focus();
    await alice.looks();
    const box = await boxOf(last.locator(".actions"));
    expect(box.bottom).toBeLessThanOrEqual((await boxOf(log)).bottom);
    if (look !== PHONE) return;
    for (const text of await alice.page.locator("article .text").all()) {
      expect((await boxOf(text)).left).toBeGreaterThanOrEqual(box.right);
    }
    await last.getByRole("button", { name: "Copy link" }).tap();
    await expect(last.getByRole("button", { name: "Copy text" })).toBeVisible();
  });
}

test("on a phone Enter makes a line, and a tap on Send sends and leaves the keyboard open", async ({
  enter,
  room,
}) => {
  const alice = await enter("alice", room, PHONE);
  const send = alice.page.getByRole("button", { name: "Send" });
  await alice.field.tap();
  await alice.page.keyboard.type("one line");
  await alice.page.keyboard.press("Enter");
  await alice.page.keyboard.type("another");
  await expect(alice.field).toHaveValue("one line\nanother");
  // The phone's keyboard stays open while the field has the focus: it must never lose it.
  await alice.field.evaluate((field) =>
    field.addEventListener("blur", () => field.setAttribute("data-left", "")),
  );
  await send.tap();
  await alice.sees(["one line\nanother"]);
  // A quick second tap hits a button with nothing to send.
  await expect(send).toBeDisabled();
  const { x = 0, y = 0, width = 0 } = (await send.boundingBox()) ?? {};
  await alice.page.touchscreen.tap(x + width / 2, y + width / 2);
  await expect(alice.field).toBeFocused();
  await expect(alice.field).not.toHaveAttribute("data-left");

  await alice.page.keyboard.type("by a tablet's keyboard");
  await alice.page.keyboard.press("Control+Enter");
  await alice.sees(["one line\nanother", "by a tablet's keyboard"]);
});

/** Its position on the screen. */
function boxOf(one: Locator) {
  return one.evaluate((element) => {
    const { left, right, top, bottom, width, height } = element.getBoundingClientRect();
    return { left, right, top, bottom, width, height };
  });
}
