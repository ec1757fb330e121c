import { expect, type Locator, type Page } from "@playwright/test";

/** A person who uses the page, through its accessible names and roles. */
export class Person {
  constructor(
    readonly page: Page,
    readonly name: string,
    /** Uses a touch screen, where Enter makes a new line. */
    readonly isTouch = false,
  ) {}

  async logIn(password = `${this.name}123`): Promise<void> {
    await this.page.getByLabel("User name").fill(this.name);
    await this.page.getByLabel("Password").fill(password);
    await this.page.getByRole("button", { name: "Log in" }).click();
  }

  /** Opens a room by its address, and waits until its messages are shown. */
  async open(room: string, realm: "chat" | "admin" = "chat"): Promise<void> {
    await this.goTo(room, realm);
    await expect(this.log(room)).toHaveAttribute("aria-busy", "false");
  }

  /** Opens a room by its address, without waiting for its messages. */
  async goTo(room: string, realm: "chat" | "admin" = "chat"): Promise<void> {
    await this.page.evaluate((hash) => {
      location.hash = hash;
    }, `#/${realm}/${room}`);
    await expect(this.log(room)).toBeVisible();
  }

  /** Types and sends a message. */
  async write(text: string): Promise<void> {
    await this.field.fill(text);
    if (this.isTouch) await this.page.getByRole("button", { name: "Send" }).tap();
    else await this.field.press("Enter");
  }

  get field(): Locator {
    return this.page.getByRole("textbox", { name: "Message" });
  }

  get status(): Locator {
    return this.page.getByRole("status");
  }

  get rooms(): Locator {
    return this.page.getByRole("navigation", { name: "Rooms" });
  }

  log(room: string): Locator {
    return this.page.getByRole("log", { name: room, exact: true });
  }

  /** The rendered messages, oldest first. */
  get messages(): Locator {
    return this.page.getByRole("log").getByRole("article");
  }

  message(text: string): Locator {
    return this.messages.filter({ has: this.page.getByText(text, { exact: true }) });
  }

  /** The texts of the rendered messages, from top to bottom. */
  texts(): Promise<string[]> {
    return this.page.locator("[role=log] article .text").allTextContents();
  }

  /** The first message in view, and its position in the list. */
  topmost(): Promise<{ text: string | undefined; place: number | undefined }> {
    return this.page.locator("[role=log]").evaluate((log) => {
      const top = log.getBoundingClientRect().top;
      const texts = [...log.querySelectorAll(".text")];
      const found = texts.find((text) => text.getBoundingClientRect().top > top);
      return { text: found?.textContent, place: found && found.getBoundingClientRect().top - top };
    });
  }

  /** Watches the page for a second, so that effects of what is shown have happened. */
  async looks(): Promise<void> {
    await this.page.evaluate(async () => {
      for (let frame = 0; frame < 60; frame += 1) await new Promise(requestAnimationFrame);
    });
  }

  /** Waits until exactly these messages are shown, all of them sent. */
  async sees(texts: readonly string[]): Promise<void> {
    await expect.poll(() => this.texts()).toEqual(texts);
    await expect(this.page.locator("article:not([data-state=sent])")).toHaveCount(0);
  }
}
