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
