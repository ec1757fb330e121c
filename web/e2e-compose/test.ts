import { test as base, expect } from "@playwright/test";
import { Person } from "../e2e/person";

/** Where docker-compose.yml publishes the page. */
export const PAGE = "http://localhost:3000";

/** A person, signed in at Keycloak, and the access token that Keycloak gave the page. */
export class Guest extends Person {
  token = "";
}

interface Fixtures {
  /** Opens the page in a browser of its own, signed in at Keycloak, in a room whose messages are there. */
  signIn: (name: string, room?: string) => Promise<Guest>;
}

export const test = base.extend<Fixtures>({
  signIn: async ({ browser }, use) => {
    const contexts: { close(): Promise<void> }[] = [];
    await use(async (name, room = "general") => {
      const context = await browser.newContext();
      contexts.push(context);
      const page = await context.newPage();
      const guest = new Guest(page, name);
      page.on("response", async (response) => {
        if (response.ok() && response.url().endsWith("/protocol/openid-connect/token")) {
          const { access_token } = (await response.json()) as { access_token: string };
          guest.token = access_token;
        }
      });
      await page.goto(`${PAGE}/#/chat/${room}`);
      await page.getByRole("button", { name: "Sign in with Keycloak" }).click();
      await page.getByLabel("Username or email").fill(name);
      await page.getByRole("textbox", { name: "Password" }).fill(`${name}123`);
      await page.getByRole("button", { name: "Sign In" }).click();
      await expect(guest.log(room)).toHaveAttribute("aria-busy", "false");
      await expect.poll(() => guest.token).not.toBe("");
      return guest;
    });
    for (const context of contexts) await context.close();
  },
});

export { expect };
