import type { Person } from "./person";
import { seed } from "./seed";
import { expect, test } from "./test";

test("only who comes to the newest message has read a room", async ({ enter, room, stack }) => {
  const bob = await enter("bob", room);
  await bob.write("read already");
  await bob.sees(["read already"]);
  await bob.open("general");
  await seed(stack, room, 45);
  const link = bob.rooms.getByRole("link", { name: room });
  await expect(link).toHaveAccessibleDescription("45 unread");

  await link.click();
  await expect(bob.page.getByText("New messages")).toBeInViewport();
  await bob.looks();
  await bob.open("general");
  await expect(link).toHaveAccessibleDescription("45 unread");

  await link.click();
  await bob.page.getByRole("button", { name: "Jump to newest" }).click();
  await expect(bob.message("message 45")).toBeInViewport();
  await bob.open("general");
  await expect(link).toHaveAccessibleDescription("");
});

test("a room that is opened is not read by whoever still sees the one before", async ({
  enter,
  room,
  stack,
}) => {
  const bob = await enter("bob", room);
  await bob.open("general");
  await seed(stack, room, 45);
  const link = bob.rooms.getByRole("link", { name: room });
  await expect(link).toHaveAccessibleDescription("45 unread");
  // Between the change of the address and the next frame, which shows the room.
  await bob.page.evaluate(() =>
    window.addEventListener("hashchange", () => window.dispatchEvent(new Event("focus")), {
      once: true,
    }),
  );

  await link.click();

  await expect(bob.page.getByText("New messages")).toBeInViewport();
  await expect(bob.page.getByRole("button", { name: "Jump to newest" })).toContainText("45 unread");
});

for (const count of [30, 50, 180]) {
  test(`a room where ${count} messages are unread opens at the first of them`, async ({
    enter,
    room,
    stack,
  }) => {
    const bob = await enter("bob", room);
    await bob.open("general");
    await seed(stack, room, count);
    const link = bob.rooms.getByRole("link", { name: room });
    await expect(link).toHaveAccessibleDescription(/unread/);
    // The page that is opened later has loaded only the last page of the room.
    await bob.page.reload();
    await expect(link).toHaveAccessibleDescription(/unread/);

    await link.click();

    await expect(bob.page.getByText("New messages")).toBeInViewport();
    await expect(first(bob)).toBeInViewport();
    await expect(bob.page.getByRole("button", { name: "Jump to newest" })).toContainText(
      `${count} unread`,
    );
  });
}

/** The first message that `seed` writes. */
function first({ messages }: Person) {
  return messages.filter({ hasText: /message 1, with/ });
}
