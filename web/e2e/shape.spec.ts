import { seed } from "./seed";
import { expect, test } from "./test";

test("who stands at the newest message stays there when the page changes its shape", async ({
  enter,
  room,
  stack,
}) => {
  await seed(stack, room, 60);
  const alice = await enter("alice", room, { viewport: { width: 360, height: 740 } });
  const newest = alice.message("message 60");
  const jump = alice.page.getByRole("button", { name: "Jump to newest" });
  await expect(newest).toBeInViewport();

  await alice.page.setViewportSize({ width: 740, height: 360 });
  await expect(newest).toBeInViewport();
  await expect(jump).toBeHidden();
  await alice.page.setViewportSize({ width: 360, height: 740 });
  await expect(newest).toBeInViewport();
  await expect(jump).toBeHidden();

  await alice.field.fill("a line\n".repeat(12));
  await expect(newest).toBeInViewport();
  await alice.field.fill("short");
  await alice.field.fill("another line\n".repeat(12));
  await expect(newest).toBeInViewport();
  await expect(jump).toBeHidden();
});
