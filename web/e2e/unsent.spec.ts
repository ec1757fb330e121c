import { expect, test } from "./test";

test("a message that waits can be taken back, and is never sent", async ({ enter, room }) => {
  const alice = await enter("alice", room);
  const bob = await enter("bob", room);
  await alice.page.context().setOffline(true);
  await expect(alice.status).toContainText("Offline");
  await alice.write("taken back");
  await alice.write("stays");
  await expect(alice.page.getByText("2 messages wait")).toBeVisible();

  const taken = alice.message("taken back");
  await taken.hover();
  await taken.getByRole("button", { name: "Discard" }).click();
  await expect(alice.page.getByText("1 message waits")).toBeVisible();
  await alice.page.context().setOffline(false);

  await alice.sees(["stays"]);
  await bob.sees(["stays"]);
});

test("a room that was first opened offline stays listed with what waits or is begun in it", async ({
  enter,
  room,
}) => {
  const alice = await enter("alice");
  await alice.page.context().setOffline(true);
  await expect(alice.status).toContainText("Offline");
  await alice.goTo(room);
  await alice.write("waits here");
  await expect(alice.message("waits here")).toBeVisible();
  await alice.goTo(`${room}-draft`);
  await alice.field.fill("begun");
  await alice.goTo("general");

  const waits = alice.rooms.getByRole("link", { name: room, exact: true });
  await expect(waits).toHaveAccessibleDescription("Messages wait");
  const begun = alice.rooms.getByRole("link", { name: `${room}-draft` });
  await expect(begun).toHaveAccessibleDescription("Draft");
  await waits.click();
  await expect(alice.message("waits here")).toBeVisible();
  await expect(alice.page.getByText("Earlier messages are loaded once")).toBeVisible();
  await alice.goTo("general");

  await alice.page.context().setOffline(false);
  await expect(waits).toHaveAccessibleDescription("");
  await waits.click();
  await alice.sees(["waits here"]);
});

test("who logs out with a message that waits is asked, and it is sent at the next log-in", async ({
  enter,
  room,
}) => {
  const alice = await enter("alice", room);
  const { page } = alice;
  await page.context().setOffline(true);
  await expect(alice.status).toContainText("Offline");
  await alice.write("not yet");
  await expect(page.getByText("1 message waits")).toBeVisible();

  const leave = page.getByRole("complementary").getByRole("button", { name: "Log out" });
  const asks = page.getByRole("dialog", { name: "Log out?" });
  await leave.click();
  await expect(asks).toContainText("1 message is not sent yet");
  await asks.getByRole("button", { name: "Stay" }).click();
  await expect(asks).toBeHidden();
  await expect(alice.message("not yet")).toBeVisible();
  await leave.click();
  await asks.getByRole("button", { name: "Log out" }).click();
  await expect(page.getByRole("button", { name: "Log in" })).toBeVisible();

  await page.context().setOffline(false);
  await alice.logIn();
  await alice.sees(["not yet"]);
});

test("a message that is sent the moment before a reload is there after it, or its draft is", async ({
  enter,
  room,
}) => {
  const alice = await enter("alice", room);
  for (let count = 1; count <= 12; count += 1) {
    const text = `before reload ${count}`;
    await alice.field.fill(text);
    const reloaded = alice.page.waitForEvent("load");
    await alice.field.evaluate((field) => {
      field.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true }));
      location.reload();
    });
    await reloaded;
    await expect(alice.log(room)).toHaveAttribute("aria-busy", "false");
    await expect(alice.field).toBeVisible();
    const isDraft = (await alice.field.inputValue()) === text;
    if (!isDraft) await expect(alice.message(text)).toHaveAttribute("data-state", "sent");
  }
});

test("what waits outlives that the browser throws away what it kept for the page", async ({
  enter,
  room,
}) => {
  const alice = await enter("alice", room);
  const { page } = alice;
  await page.context().setOffline(true);
  await expect(alice.status).toContainText("Offline");
  await alice.write("from before");
  await expect(page.getByText("1 message waits")).toBeVisible();

  const devtools = await page.context().newCDPSession(page);
  const { origin } = new URL(page.url());
  await devtools.send("Storage.clearDataForOrigin", { origin, storageTypes: "indexeddb" });
  await alice.write("from after");
  await expect(page.getByText("2 messages wait")).toBeVisible();

  await page.context().setOffline(false);
  await alice.sees(["from before", "from after"]);
});
