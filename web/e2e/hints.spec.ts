import { expect, test } from "./test";

const PHONE = { viewport: { width: 390, height: 800 }, hasTouch: true, isMobile: true };

test("a phone's drawer opens without a hint, with the focus on the room that is open", async ({
  enter,
  room,
}) => {
  const alice = await enter("alice", room, PHONE);
  const { page } = alice;
  await page.getByRole("button", { name: "Show rooms" }).tap();
  await expect(alice.rooms.getByRole("link", { name: room })).toBeFocused();
  await expect(page.locator(".tooltip")).toHaveCount(0);

  await page.getByRole("button", { name: "Open a room" }).tap();
  await expect(page.getByLabel("Room name")).toBeFocused();
  await page.getByRole("button", { name: "Cancel" }).tap();
  await expect(page.getByRole("button", { name: "Open a room" })).toBeFocused();
  await expect(page.locator(".tooltip")).toHaveCount(0);
});

test("a hint comes to whoever gets to a button by Tab, and not when the page leads there", async ({
  enter,
  room,
}) => {
  const alice = await enter("alice", room);
  const { page } = alice;
  const button = page.getByRole("button", { name: "Open a room" });
  await button.click();
  await page.keyboard.press("Escape");
  await expect(button).toBeFocused();
  await expect(page.locator(".tooltip")).toHaveCount(0);

  await page.keyboard.press("Tab");
  await page.keyboard.press("Shift+Tab");
  await expect(button).toBeFocused();
  await expect(page.locator(".tooltip")).toHaveText("Open a room");
});

test("a hint of a button in a dialog lies above the dialog", async ({ enter, room }) => {
  const { viewport } = PHONE;
  const alice = await enter("alice", room, { viewport });
  const { page } = alice;
  await page.getByRole("button", { name: "Show rooms" }).click();
  await page.getByRole("button", { name: "Log out" }).hover();
  const hint = page.locator("dialog .tooltip");
  await expect(hint).toBeVisible();
  const isAbove = await hint.evaluate((element) => {
    const { x, y, width, height } = element.getBoundingClientRect();
    const top = document.elementFromPoint(x + width / 2, y + height / 2);
    return element === top || element.contains(top);
  });
  expect(isAbove).toBe(true);
});
