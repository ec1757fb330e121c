import { type BrowserContextOptions, test as base, expect } from "@playwright/test";
import { useFreshPage } from "./fresh-page";
import { Person } from "./person";
import { Stack } from "./stack";

interface Fixtures {
  /** Opens the page in a browser of its own, logged in and in a room unless told otherwise. */
  enter: (name: string, room?: string, options?: BrowserContextOptions) => Promise<Person>;
  /** A room that no other test writes in. */
  room: string;
  /** Whatever the page said that it should not: no test leaves anything here. */
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
    await useFreshPage(context, stack.page);
    await use(context);
  },

  enter: async ({ browser, stack, complaints }, use) => {
    const contexts: { close(): Promise<void> }[] = [];
    await use(async (name, room, options) => {
      const context = await browser.newContext(options);
      await useFreshPage(context, stack.page);
      contexts.push(context);
      const page = await context.newPage();
      page.on("pageerror", (error) => complaints.push(`${name}: ${error.stack ?? error}`));
      page.on("console", (message) => {
        // A policy that refuses something of ours says so here.
        if (/Content.Security.Policy|React/i.test(message.text())) complaints.push(message.text());
      });
      await page.goto(`${stack.page}/#/chat/${room ?? "general"}`);
      const person = new Person(page, name);
      await person.logIn();
      await expect(person.log(room ?? "general")).toHaveAttribute("aria-busy", "false");
      return person;
    });
    for (const context of contexts) await context.close();
  },
});

export { expect };
