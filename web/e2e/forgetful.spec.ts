import { serveFresh } from "./fresh-page";
import { Person } from "./person";
import { expect, test } from "./test";

test("a browser that lets the page keep nothing chats, and says what that means", async ({
  browser,
  enter,
  room,
  stack,
}) => {
  const context = await browser.newContext();
  await context.addInitScript(keepNothing);
  await serveFresh(context, stack.page);
  const page = await context.newPage();
  await page.goto(`${stack.page}/#/chat/${room}`);
  const alice = new Person(page, "alice");
  await alice.logIn();
  const bob = await enter("bob", room);

  const banner = page.getByText("This browser keeps nothing for this page.");
  await expect(banner).toBeVisible();
  await alice.write("hello");
  await bob.sees(["hello"]);
  await bob.write("hello, too");
  await alice.sees(["hello", "hello, too"]);
  await page.getByRole("button", { name: "Close" }).click();
  await expect(banner).toBeHidden();
  await expect(bob.page.getByText("This browser keeps nothing")).toHaveCount(0);

  await page.getByRole("button", { name: "Log out" }).click();
  await expect(page.getByRole("button", { name: "Log in" })).toBeVisible();
  await context.close();
});

/** Runs before the page: does what Chromium does when site data are blocked. */
function keepNothing() {
  const denied = () => {
    throw new DOMException("Access is denied for this document.", "SecurityError");
  };
  for (const name of ["localStorage", "sessionStorage", "indexedDB"]) {
    Object.defineProperty(window, name, { get: denied });
  }
  window.BroadcastChannel = class {
    constructor() {
      denied();
    }
  } as unknown as typeof BroadcastChannel;
  navigator.locks.request = async () => denied();
}
