import { type BrowserContextOptions, test as base, expect } from "@playwright/test";
import { serveFresh } from "./fresh-page";
import { Person } from "./person";
import { Stack } from "./stack";

interface Fixtures {
  /** Opens the page in a browser of its own, with nobody logged in. */
  visit: (who: string, hash?: string, options?: BrowserContextOptions) => Promise<Person>;
  /** Opens the page in a browser of its own, logged in, in a room whose messages are there. */
  enter: (name: string, room?: string, options?: BrowserContextOptions) => Promise<Person>;
  /** A room that no other test writes in. */
  room: string;
  /** Errors and violations that the page reported: every test must leave this empty. */
  complaints: string[];
}

let rooms = 0;

/** A test with the stack of its worker, and people who use the page. */
export const test = base.extend<Fixtures, { stack: Stack }>({
  stack: [
    // biome-ignore lint/correctness/noEmptyPattern: Playwright wants the pattern.
    async ({}, use) => {
      const stack = await Stack.start();
      await use(stack);
      await stack.stop();
    },
    { scope: "worker" },
  ],

  // biome-ignore lint/correctness/noEmptyPattern: Playwright wants the pattern.
  room: async ({}, use, info) => {
    rooms += 1;
    await use(`room-${info.workerIndex}-${rooms}`);
  },

  // biome-ignore lint/correctness/noEmptyPattern: Playwright wants the pattern.
  complaints: async ({}, use) => {
    const complaints: string[] = [];
    await use(complaints);
    expect(complaints).toEqual([]);
  },

  context: async ({ context, stack }, use) => {
    await serveFresh(context, stack.page);
    await use(context);
  },

  visit: async ({ browser, stack, complaints }, use) => {
    const contexts: { close(): Promise<void> }[] = [];
    await use(async (name, hash = "", options = {}) => {
      const context = await browser.newContext(options);
      contexts.push(context);
      await serveFresh(context, stack.page);
      const page = await context.newPage();
      page.on("pageerror", (error) => complaints.push(`${name}: ${error.stack ?? error}`));
      page.on("console", (message) => {
        // The Content-Security-Policy reports violations here.
        if (/Content.Security.Policy|React/i.test(message.text())) complaints.push(message.text());
      });
      await page.goto(`${stack.page}/${hash}`);
      await expect(page.getByRole("button", { name: "Log in" })).toBeVisible();
      return new Person(page, name, options.hasTouch);
    });
    for (const context of contexts) await context.close();
  },

  enter: async ({ visit }, use) => {
    await use(async (name, room = "general", options = {}) => {
      const person = await visit(name, `#/chat/${room}`, options);
      await person.logIn();
      await expect(person.log(room)).toHaveAttribute("aria-busy", "false");
      return person;
    });
  },
});

export { expect };
