import type { Page } from "@playwright/test";
import { Person } from "./person";
import { expect, test } from "./test";

test("a wrong password says so, and the right one then lets in", async ({ page, stack }) => {
  await page.goto(stack.page);
  const alice = new Person(page, "alice");

  await alice.logIn("wrong");
  await expect(page.getByRole("alert")).toContainText(/password/i);
  await expect(alice.rooms).toBeHidden();

  await alice.logIn();
  await expect(alice.rooms).toBeVisible();
  await expect(alice.status).toHaveText("Connected");
});

test("a name is the same with a capital", async ({ page, stack }) => {
  await page.goto(stack.page);
  await page.getByLabel("User name").fill("Alice");
  await page.getByLabel("Password").fill("alice123");
  await page.getByRole("button", { name: "Log in" }).click();
  await expect(page.getByRole("navigation", { name: "Rooms" })).toBeVisible();
});

test("a refresh keeps the person logged in, and logging out does not", async ({ enter }) => {
  const bob = await enter("bob");

  await expect.poll(() => stored(bob.page)).toContain("token");
  expect(await stored(bob.page)).not.toContain("bob123");
  await bob.page.reload();
  await expect(bob.rooms).toBeVisible();

  await bob.page.getByRole("button", { name: "Log out" }).click();
  await expect(bob.page.getByRole("button", { name: "Log in" })).toBeVisible();
  await bob.page.reload();
  await expect(bob.page.getByRole("button", { name: "Log in" })).toBeVisible();
  expect(await stored(bob.page)).not.toContain("token");
});

test("a server that is away and one that refuses the page are no wrong password", async ({
  page,
  stack,
}) => {
  await page.goto(stack.page);
  const alice = new Person(page, "alice");
  await expect(page.getByRole("button", { name: "Log in" })).toBeVisible();
  const start = stack.stopServer();
  try {
    await alice.logIn();
    await expect(page.getByRole("alert")).toHaveAttribute("data-kind", "away");
  } finally {
    start();
  }
  // The server takes a while to restart: an early attempt finds it away.
  // A slow one may be in by the time of the next, which then finds no form.
  page.setDefaultTimeout(5000);
  await expect(async () => {
    if (!(await alice.rooms.isVisible())) await alice.logIn();
    await expect(alice.rooms).toBeVisible({ timeout: 2000 });
  }).toPass();
});

test("a server that is too slow to log in at is away, and refuses nobody", async ({
  page,
  stack,
}) => {
  await page.goto(stack.page);
  const { websocket } = await config(stack.page);
  const alice = new Person(page, "alice");
  const alert = page.getByRole("alert");
  const thaw = stack.freezeServer();
  try {
    // Requests after the page has given up are answered again.
    const { host } = new URL(websocket);
    const asksAgain = page.waitForRequest((request) => new URL(request.url()).host === host);
    await alice.logIn();
    await Promise.race([asksAgain, expect(alert).toBeVisible()]);
  } finally {
    thaw();
  }
  await expect(alert).toHaveAttribute("data-kind", "away");

  await alice.logIn();
  await expect(alice.rooms).toBeVisible();
});

test("a server that comes up while somebody logs in lets them in", async ({ page, stack }) => {
  // The first WebSocket finds no server; the plain request after it does.
  await page.addInitScript(() => {
    let isUp = false;
    window.WebSocket = class extends WebSocket {
      constructor(url: string | URL) {
        super(isUp ? url : "ws://127.0.0.1:1");
        isUp = true;
      }
    };
  });
  await page.goto(stack.page);
  const alice = new Person(page, "alice");
  await alice.logIn();
  await expect(alice.rooms).toBeVisible();
});

test("a page from elsewhere is refused by the server, and says that it was", async ({
  page,
  stack,
}) => {
  // The same page under a host name that the server does not allow.
  const elsewhere = new URL(stack.page);
  elsewhere.hostname = "page.localhost";
  await page.goto(elsewhere.href);
  await new Person(page, "alice").logIn();
  await expect(page.getByRole("alert")).toHaveAttribute("data-kind", "refused");
});

/** What the browser keeps for the page. */
function stored(page: Page): Promise<string> {
  return page.evaluate(() => JSON.stringify({ ...sessionStorage, ...localStorage }));
}

/** The page's configuration. */
async function config(page: string): Promise<{ websocket: string }> {
  const response = await fetch(`${page}/config.json`);
  return (await response.json()) as { websocket: string };
}
