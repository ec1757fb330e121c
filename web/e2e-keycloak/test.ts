import type { BrowserContext } from "@playwright/test";
import { Person } from "../e2e/person";
import { Stack } from "../e2e/stack";
import { test as base, expect } from "../e2e/test";
import { Realm } from "./keycloak";

interface Fixtures {
  /** Opens the page in a browser of its own, signed in at Keycloak, in a room whose messages are there. */
  signIn: (name: string, room?: string) => Promise<Person>;
}

interface WorkerFixtures {
  realm: Realm;
  stack: Stack;
}

/** A test with a stack whose people sign in at Keycloak, or with a password as local users. */
export const test = base.extend<Fixtures, WorkerFixtures>({
  realm: [
    // biome-ignore lint/correctness/noEmptyPattern: Playwright wants the pattern.
    async ({}, use) => {
      await use(new Realm(process.env["KEYCLOAK_SHARED"] ?? ""));
    },
    { scope: "worker" },
  ],

  stack: [
    async ({ realm }, use) => {
      const stack = await Stack.start([], {
        CHAT_AUTH__OIDC__ISSUER: realm.realm,
        CHAT_AUTH__OIDC__CLIENT: "chat-web",
        CHAT_AUTH__OIDC__NAME: "Keycloak",
        CHAT_SEND__RATE: "1000",
        CHAT_SEND__BURST: "1000",
      });
      await use(stack);
      await stack.stop();
    },
    { scope: "worker" },
  ],

  signIn: async ({ visit }, use) => {
    await use(async (name, room = "general") => {
      const person = await visit(name, `#/chat/${room}`);
      await toKeycloak(person);
      await fillForm(person);
      await expect(person.log(room)).toHaveAttribute("aria-busy", "false");
      return person;
    });
  },
});

export { expect };

/** Leaves the page for Keycloak's form. */
export async function toKeycloak({ page }: Person): Promise<void> {
  await page.getByRole("button", { name: "Sign in with Keycloak" }).click();
}

export async function fillForm({ page, name }: Person): Promise<void> {
  await page.getByLabel("Username or email").fill(name);
  await page.getByRole("textbox", { name: "Password" }).fill(`${name}123`);
  await page.getByRole("button", { name: "Sign In" }).click();
}

/** Opens one more tab. */
export async function openTab(context: BrowserContext, url: string, name: string): Promise<Person> {
  const page = await context.newPage();
  await page.goto(url);
  return new Person(page, name);
}
