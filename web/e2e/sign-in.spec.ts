import type { ChildProcess } from "node:child_process";
import { Person } from "./person";
import { Stack } from "./stack";
import { test as base, expect } from "./test";

/** Seconds until a person has to log in again. */
const SESSION_S = 20;

// Its own stack, in which `auth` is a process that can hang.
const test = base.extend<object, { stack: Stack; auth: ChildProcess }>({
  stack: [
    // biome-ignore lint/correctness/noEmptyPattern: Playwright wants the pattern.
    async ({}, use) => {
      const env = { CHAT_AUTH__SESSION_HOURS: String(SESSION_S / 3600) };
      const stack = await Stack.start(["auth"], env);
      await use(stack);
      await stack.stop();
    },
    { scope: "worker" },
  ],
  auth: [async ({ stack }, use) => use(stack.serve("auth")), { scope: "worker", auto: true }],
});

const UNAVAILABLE = "The sign-in service is unavailable. Trying again.";

test("without `auth` nobody's password is wrong, and whoever waits gets in", async ({
  page,
  stack,
  auth,
}) => {
  await page.goto(stack.page);
  const [alice, alert] = [new Person(page, "alice"), page.getByRole("alert")];
  await alice.logIn();
  await expect(alice.status).toHaveText("Connected");
  await page.getByRole("button", { name: "Log out" }).click();

  auth.kill("SIGSTOP");
  try {
    const clicked = Date.now();
    await alice.logIn();
    await expect(alert).toContainText(UNAVAILABLE);
    expect(Date.now() - clicked).toBeLessThan(3_500);
    await page.getByRole("button", { name: "Cancel" }).click();
    await expect(alert).toBeHidden();

    await alice.logIn("wrong");
    await expect(alert).toContainText(UNAVAILABLE);
  } finally {
    auth.kill("SIGCONT");
  }
  await expect(alert).toHaveAttribute("data-kind", "wrong-password");
  await alice.logIn();
  await expect(alice.rooms).toBeVisible();
});

test("a session ends, says when it did, and keeps what is unsent", async ({ enter, room }) => {
  const bob = await enter("bob", room);
  await bob.field.fill("half a thought");
  await expect(bob.page.getByRole("alert")).toHaveAttribute("data-kind", "session-ended");
  await expect(bob.page.getByRole("alert")).toContainText(/Your session ended at .*Log in again/);
  await bob.logIn();
  await expect(bob.field).toHaveValue("half a thought");
});
