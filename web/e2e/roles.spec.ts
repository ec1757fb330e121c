import { PATIENT } from "./stack";
import { expect, test } from "./test";

test("charlie, who has no role, reads, and is told so before he types", async ({ enter, room }) => {
  const alice = await enter("alice", room);
  await alice.write("for everybody");
  const charlie = await enter("charlie", room);

  await charlie.sees(["for everybody"]);
  await expect(charlie.page.getByText("You may read here, but not write")).toBeVisible();
  await expect(charlie.field).toBeHidden();
  await alice.write("also live");
  await charlie.sees(["for everybody", "also live"]);
});

test("an admin room is alice's, and refused to bob", async ({ enter, room }) => {
  const alice = await enter("alice");
  await alice.open(room, "admin");
  await alice.write("among admins");
  await alice.sees(["among admins"]);

  const bob = await enter("bob");
  await bob.page.evaluate((hash) => {
    location.hash = hash;
  }, `#/admin/${room}`);

  await expect(bob.page.getByText("This room is for admins")).toBeVisible();
  await expect(bob.page.getByText("among admins")).toBeHidden();
  await expect(bob.page.getByText("No messages yet")).toBeHidden();
  await expect(bob.field).toBeHidden();
  await expect(bob.rooms.getByText("Admin rooms")).toBeHidden();
  // The refusal affects that room only.
  await bob.open(room);
  await bob.write("bob is still here");
  await bob.sees(["bob is still here"]);
});

test("who sends too fast sees that the message waits, and it arrives", async ({
  enter,
  room,
  stack,
}) => {
  const bob = await enter("bob", room);
  // The same person uses up the rate limit elsewhere.
  const other = await stack.connect("bob");
  let isBusy = true;
  const hurry = (async () => {
    for (let count = 0; isBusy; count += 1) {
      const draft = JSON.stringify({ id: `${room}-${count}`, text: "fast" });
      await other.request(`chat.send.${room}-other`, draft, PATIENT);
    }
  })();
  await expect(async () => {
    await bob.write("one more");
    await expect(bob.page.getByText(/Next try in \d+ s/).first()).toBeVisible({ timeout: 1000 });
  }).toPass();

  isBusy = false;
  await hurry;
  await other.close();

  await expect(bob.page.getByText(/Next try in/)).toHaveCount(0);
  await expect(bob.page.locator("article:not([data-state=sent])")).toHaveCount(0);
  await expect(bob.message("one more").first()).toBeVisible();
});
