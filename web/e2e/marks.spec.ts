import { seed } from "./seed";
import { expect, test } from "./test";

test("what one can do with the first unread message leaves its divider readable", async ({
  enter,
  room,
}) => {
  const bob = await enter("bob", room);
  await bob.write("read already");
  await bob.sees(["read already"]);
  await bob.open("general");
  const alice = await enter("alice", room);
  await alice.write("new");
  const link = bob.rooms.getByRole("link", { name: room });
  // Messages that come after the click are not marked as new.
  await expect(link).toHaveAccessibleDescription("1 unread");
  await link.click();
  const divider = bob.page.getByText("New messages");
  await expect(divider).toBeVisible();

  await bob.message("new").hover();
  const actions = bob.message("new").locator(".actions");
  await expect(actions).toBeVisible();

  const label = await divider.evaluate((element) => {
    const range = document.createRange();
    range.selectNodeContents(element);
    const { left, right } = range.getBoundingClientRect();
    return { left, right };
  });
  const box = await actions.boundingBox();
  expect(label.right).toBeLessThan(box?.x ?? 0);
});

test("of two messages, one clicked and one under the pointer, the latter shows what can be done", async ({
  enter,
  room,
}) => {
  const alice = await enter("alice", room);
  await alice.write("clicked");
  await alice.write("pointed");
  await alice.sees(["clicked", "pointed"]);
  await alice.message("clicked").click();
  await expect(alice.message("clicked").locator(".actions")).toBeVisible();

  await alice.message("pointed").hover();
  await expect(alice.message("pointed").locator(".actions")).toBeVisible();
  await expect(alice.message("clicked").locator(".actions")).toBeHidden();

  await alice.field.hover();
  await expect(alice.message("clicked").locator(".actions")).toBeVisible();
  await expect(alice.message("pointed").locator(".actions")).toBeHidden();
});

test("the mark of the message that a link led to goes after a while, and comes with the link again", async ({
  enter,
  room,
  stack,
}) => {
  await seed(stack, room, 60);
  const alice = await enter("alice", room);
  const message = alice.message("message 60");
  await message.hover();
  const link = message.getByRole("link");
  await link.click();
  await expect(message).toHaveAttribute("data-target", "true");
  await expect(message).not.toHaveAttribute("data-target", "true");

  await alice.open(room);
  await message.hover();
  await link.click();
  await expect(message).toHaveAttribute("data-target", "true");
});

test("what is said of a link that leads nowhere can be closed, and comes with the link again", async ({
  enter,
  room,
}) => {
  const alice = await enter("alice", room);
  await alice.write("first");
  await alice.sees(["first"]);
  const said = alice.page.getByText("The message of this link is not in this room.");
  const openLink = () =>
    alice.page.evaluate((hash) => {
      location.hash = hash;
    }, `#/chat/${room}/1.999999`);

  await openLink();
  await expect(said).toBeVisible();
  await alice.page.getByRole("button", { name: "Close" }).click();
  await expect(said).toBeHidden();

  await alice.open(room);
  await openLink();
  await expect(said).toBeVisible();
});
