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

test("nor does a field take the end away that shrinks and grows again within one frame", async ({
  enter,
  room,
  stack,
}) => {
  await seed(stack, room, 60);
  const alice = await enter("alice", room, { viewport: { width: 360, height: 740 } });
  const newest = alice.message("message 60");
  await alice.field.fill("a line\n".repeat(12));
  await expect(newest).toBeInViewport();
  await alice.looks();

  const heights = await alice.field.evaluate(fillTwice, ["short", "a line\n".repeat(12)]);
  expect(heights[0]).toBeLessThan(heights[1] ?? 0);
  await alice.looks();
  await expect(newest).toBeInViewport();
  await expect(alice.page.getByRole("button", { name: "Jump to newest" })).toBeHidden();
});

/** Runs in the page: sets one text after the other within a frame. Returns the field's heights. */
async function fillTwice(field: HTMLElement | SVGElement, texts: string[]): Promise<number[]> {
  const heights: number[] = [];
  const set = Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, "value")?.set;
  for (const text of texts) {
    set?.call(field, text);
    field.dispatchEvent(new Event("input", { bubbles: true }));
    await Promise.resolve();
    heights.push(field.getBoundingClientRect().height);
  }
  return heights;
}
