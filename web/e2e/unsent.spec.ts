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
  await taken.getByRole("button", { name: "Discard" }).click();
  await expect(alice.page.getByText("1 message waits")).toBeVisible();
  await alice.page.context().setOffline(false);

  await alice.sees(["stays"]);
  await bob.sees(["stays"]);
});
