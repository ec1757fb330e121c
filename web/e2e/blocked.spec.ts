import { Stack } from "./stack";
import { test as base, expect } from "./test";

// `send` runs in a process of its own, so that it can be missing.
const test = base.extend<object, { stack: Stack }>({
  stack: [
    // biome-ignore lint/correctness/noEmptyPattern: Playwright wants the pattern.
    async ({}, use) => {
      const stack = await Stack.start(["send", "admin-send"]);
      await use(stack);
      await stack.stop();
    },
    { scope: "worker" },
  ],
});

test("why messages wait is said in every room, and that they do once", async ({
  enter,
  room,
  stack,
}) => {
  const alice = await enter("alice", room);
  const { page } = alice;
  await alice.write("first");
  await expect(alice.message("first")).toContainText("The chat takes no messages at the moment.");

  await alice.open("general");
  const banner = page.getByText(`A message in ${room} is not sent yet.`);
  await expect(banner).toBeVisible();
  await expect(page.getByText("The chat takes no messages at the moment.")).toBeVisible();
  for (const text of ["second", "third", "fourth"]) await alice.write(text);
  await expect(alice.message("fourth")).toContainText("Waiting to be sent");
  await expect(page.getByText("Waiting to be sent")).toHaveCount(1);
  await alice.message("third").hover();
  await alice.message("third").getByRole("button", { name: "Discard" }).click();

  await page.getByRole("link", { name: "Show it" }).click();
  await expect(alice.message("first")).toBeVisible();
  await expect(banner).toBeHidden();
  const send = stack.serve("send", "admin-send");
  await alice.sees(["first"]);
  await alice.open("general");
  await alice.sees(["second", "fourth"]);
  await stack.end(send);
});

test("a message that was refused in another room is told until one has decided", async ({
  enter,
  room,
  stack,
}) => {
  const send = stack.serve("send", "admin-send");
  const alice = await enter("alice", room);
  const { page } = alice;
  await alice.write("😀".repeat(4_000));
  await expect(page.getByText("Not sent. The message is too large.")).toBeVisible();

  await alice.open("general");
  await expect(page.getByText(`A message in ${room} was not sent.`)).toBeVisible();
  await alice.write("all the same");
  await expect(alice.message("all the same")).toHaveAttribute("data-state", "sent");
  await page.getByRole("link", { name: "Show it" }).click();
  await page.getByRole("button", { name: "Discard" }).click();
  await alice.open("general");
  await expect(page.getByText(`A message in ${room} was not sent.`)).toBeHidden();
  await stack.end(send);
});
