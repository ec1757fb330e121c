import { expect, test } from "./test";

test("Enter sends, Shift+Enter makes a line, and an empty message is none", async ({
  enter,
  room,
}) => {
  const alice = await enter("alice", room);
  await expect(alice.field).toBeFocused();
  await alice.page.keyboard.press("Enter");
  await alice.page.keyboard.type("one line");
  await alice.page.keyboard.press("Shift+Enter");
  await alice.page.keyboard.type("another");
  await alice.page.keyboard.press("Enter");

  await alice.sees(["one line\nanother"]);
  await expect(alice.field).toHaveValue("");
  await expect(alice.field).toBeFocused();
  await expect(alice.page.getByRole("button", { name: "Send" })).toBeDisabled();
});

test("Alt with the arrow keys goes through the rooms, and the arrow keys through their links", async ({
  enter,
}) => {
  const alice = await enter("alice", "general");
  await alice.page.keyboard.press("Alt+ArrowDown");
  await expect(alice.log("random")).toBeVisible();
  await alice.page.keyboard.press("Alt+ArrowUp");
  await expect(alice.log("general")).toBeVisible();

  const links = alice.rooms.getByRole("link");
  await links.first().focus();
  await alice.page.keyboard.press("ArrowDown");
  await expect(links.nth(1)).toBeFocused();
  await alice.page.keyboard.press("Enter");
  await expect(alice.log("random")).toBeVisible();
});

test("the arrow keys go through the messages, Tab through what one can do with them", async ({
  enter,
  room,
}) => {
  const alice = await enter("alice", room, { permissions: ["clipboard-read", "clipboard-write"] });
  for (const text of ["one", "two", "three"]) await alice.write(text);
  await alice.sees(["one", "two", "three"]);

  await alice.page.keyboard.press("Shift+Tab");
  await expect(alice.message("three")).toBeFocused();
  await alice.page.keyboard.press("ArrowUp");
  await alice.page.keyboard.press("ArrowUp");
  await expect(alice.message("one")).toBeFocused();
  await alice.page.keyboard.press("Tab");
  await alice.page.keyboard.press("Tab");
  await expect(alice.page.getByRole("button", { name: "Copy text" })).toBeFocused();
  await alice.page.keyboard.press("Enter");
  await expect(alice.page.getByRole("button", { name: "Copied" })).toBeVisible();
  expect(await alice.page.evaluate(() => navigator.clipboard.readText())).toBe("one");

  await alice.page.keyboard.press("Escape");
  await expect(alice.field).toBeFocused();
});

test("only what arrives is read out: history is not, and a name stands with each message", async ({
  enter,
  room,
}) => {
  const alice = await enter("alice", room);
  await alice.write("history");
  await alice.sees(["history"]);
  const bob = await enter("bob", room);
  await bob.sees(["history"]);
  await alice.write("arrives");
  await bob.sees(["history", "arrives"]);

  const quiet = bob.page.locator("[role=log] [aria-live=off]");
  await expect(quiet.getByText("history")).toHaveCount(1);
  await expect(quiet.getByText("arrives")).toHaveCount(0);
});
