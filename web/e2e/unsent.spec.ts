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
