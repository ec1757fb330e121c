import type { Person } from "./person";
import { seed } from "./seed";
import { expect, test } from "./test";

test("a room is as one left it, and tells what has come since", async ({ enter, room, stack }) => {
  await seed(stack, room, 120);
  const alice = await enter("alice", room);
  const before = await readUp(alice, 1_500);
  await alice.open("general");
  const bob = await enter("bob", room);
  await bob.write("since then");
  const link = alice.rooms.getByRole("link", { name: room });
  await expect(link).toHaveAccessibleDescription("1 unread");

  await link.click();
  await expect.poll(() => alice.topmost()).toEqual(before);
  const jump = alice.page.getByRole("button", { name: "Jump to newest" });
  await expect(jump).toContainText("1 unread");
  await jump.click();
  await expect(alice.page.getByText("New messages")).toBeInViewport();
  await expect(alice.message("since then")).toBeInViewport();

  // A reader who was at the end returns to the end.
  await alice.open("general");
  await alice.open(room);
  await expect(alice.message("since then")).toBeInViewport();
});

test("the browser's way back leads to where one was, also where a permalink began it", async ({
  enter,
  room,
  stack,
}) => {
  await seed(stack, room, 120);
  const alice = await enter("alice", room);
  const plain = await readUp(alice, 700);
  await alice.open("general");
  await alice.page.goBack();
  await expect.poll(() => alice.topmost()).toEqual(plain);

  const message = alice.message(plain.text ?? "");
  await message.hover();
  await message.getByRole("link").click();
  await expect(message).toHaveAttribute("data-target", "true");
  const linked = await readUp(alice, 700);
  await alice.open("general");
  await alice.page.goBack();
  await expect.poll(() => alice.topmost()).toEqual(linked);
  await expect(alice.page.locator("article[data-target]")).toHaveCount(0);
});

test("where one left a room is found again also when its old messages had to go", async ({
  enter,
  room,
  stack,
}) => {
  await seed(stack, room, 700);
  const alice = await enter("alice", room);
  const log = alice.log(room);
  const first = alice.messages.filter({ hasText: /message 1, with/ });
  while ((await first.count()) === 0) {
    await log.evaluate((box) => box.scrollTo(0, 0));
    await alice.looks();
  }
  await log.evaluate((box) => box.scrollTo(0, 2_000));
  await alice.looks();
  const before = await alice.topmost();

  await alice.open("general");
  const bob = await enter("bob", room);
  // A room that is not open keeps only its last messages.
  await bob.write("one more");
  await expect(alice.rooms.getByRole("link", { name: room })).toHaveAccessibleDescription(
    "1 unread",
  );
  await alice.open(room);

  await expect.poll(() => alice.topmost()).toEqual(before);
});

test("where one left a long room is found again also when others never stop writing in it", async ({
  enter,
  room,
  stack,
}) => {
  await seed(stack, room, 500);
  const alice = await enter("alice", room);
  const log = alice.log(room);
  const first = alice.messages.filter({ hasText: /message 1, with/ });
  while ((await first.count()) === 0) {
    await log.evaluate((box) => box.scrollTo(0, 0));
    await alice.looks();
  }
  await log.evaluate((box) => box.scrollTo(0, 2_000));
  await alice.looks();

  const others = await stack.connect("backend");
  const writes = setInterval(() => {
    others.publish(`chat.${room}`, JSON.stringify({ user: "Ada", text: "on and on" }));
  }, 10);
  const before = await alice.topmost();
  for (let times = 0; times < 5; times += 1) {
    await alice.open("general");
    await alice.looks();
    await alice.open(room);
    await expect.poll(() => alice.topmost()).toEqual(before);
  }
  clearInterval(writes);
  await others.close();
});

/** Scrolls up, and returns the new position. */
async function readUp(person: Person, by: number) {
  await person.looks();
  await person.page.locator("[role=log]").hover();
  await person.page.mouse.wheel(0, -by);
  await person.looks();
  return person.topmost();
}
