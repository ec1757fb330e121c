import AxeBuilder from "@axe-core/playwright";
import type { Page } from "@playwright/test";
import { expect, test } from "./test";

const LOOKS = [
  { colorScheme: "light", viewport: { width: 1440, height: 900 } },
  { colorScheme: "dark", viewport: { width: 1440, height: 900 } },
  { colorScheme: "light", viewport: { width: 360, height: 740 } },
  { colorScheme: "dark", viewport: { width: 360, height: 740 } },
] as const;

for (const look of LOOKS) {
  const { colorScheme, viewport } = look;
  const isNarrow = viewport.width < 720;

  test(`every view is without findings of axe, ${colorScheme}, ${viewport.width} px`, async ({
    enter,
    room,
    stack,
    visit,
  }) => {
    const outside = await visit("alice", "", look);
    await check(outside.page, "log in");
    await outside.logIn("wrong");
    await expect(outside.page.getByRole("alert")).toBeVisible();
    await check(outside.page, "wrong password");
    await signInAtProvider(outside.page);

    const alice = await enter("alice", room, look);
    const { page } = alice;
    await expect(page.getByText("No messages yet")).toBeVisible();
    await check(page, "empty room");
    await alice.write("A first line with https://nats.io and `code` in it");
    await alice.write("and a second one");
    await alice.sees(["A first line with https://nats.io and code in it", "and a second one"]);
    await alice.message("and a second one").focus();
    await check(page, "room with messages, one focused");

    if (isNarrow) await page.getByRole("button", { name: /Show rooms/ }).click();
    await check(page, "navigation");
    await page.getByRole("button", { name: "Theme" }).click();
    await check(page, "theme menu");
    await page.keyboard.press("Escape");
    await page.getByRole("button", { name: "Open a room" }).click();
    await page.getByLabel("Room name").fill("a.b");
    await check(page, "dialog");
    await page.keyboard.press("Escape");
    if (isNarrow) await page.keyboard.press("Escape");

    const start = stack.stopServer();
    await expect(alice.status).toContainText("Offline");
    await alice.write("waits");
    await expect(page.getByText("1 message waits")).toBeVisible();
    await check(page, "offline");
    start();
    await expect(alice.status).toHaveText("Connected");

    await alice.write(`So:\n\`\`\`\n${"one more line\n".repeat(60)}\`\`\``);
    await expect(page.getByRole("button", { name: "Show more" })).toBeVisible();
    await alice.write("😀".repeat(4_000));
    await expect(page.getByText("Not sent. The message is too large.")).toBeVisible();
    await check(page, "folded and refused messages");
    await alice.open("general");
    await expect(page.getByText(`A message in ${room} was not sent.`)).toBeVisible();
    await check(page, "a message refused elsewhere");

    await page.evaluate(() => {
      location.hash = "#/chat/a.b";
    });
    await expect(page.getByText("There is no such room")).toBeVisible();
    await check(page, "no such room");

    const bob = await enter("bob", room, look);
    await bob.page.evaluate(() => {
      location.hash = "#/admin/general";
    });
    await expect(bob.page.getByText("This room is for admins")).toBeVisible();
    await check(bob.page, "forbidden");

    const charlie = await enter("charlie", room, look);
    await expect(charlie.page.getByText("You may read here, but not write")).toBeVisible();
    await check(charlie.page, "read only");
  });
}

test("a chosen theme holds against the device's, also over a refresh", async ({ enter }) => {
  const alice = await enter("alice", "general", { colorScheme: "light" });
  const canvas = () => alice.page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await canvas();
  await alice.page.getByRole("button", { name: "Theme" }).click();
  await alice.page.getByRole("menuitemradio", { name: "Dark" }).click();
  expect(await canvas()).not.toBe(light);

  await alice.page.reload();
  await expect(alice.rooms).toBeVisible();
  expect(await canvas()).not.toBe(light);

  await alice.page.getByRole("button", { name: "Theme" }).click();
  await alice.page.getByRole("menuitemradio", { name: "System" }).click();
  expect(await canvas()).toBe(light);
});

for (const locale of ["en-US", "de-DE"]) {
  test(`the time beside a message leaves its text alone, ${locale}`, async ({ enter, room }) => {
    const alice = await enter("alice", room, { locale });
    await alice.write("first");
    await alice.write("second");
    await alice.sees(["first", "second"]);
    const message = alice.message("second");
    await message.focus();
    const time = await message.locator("time").boundingBox();
    const text = await message.locator(".text").boundingBox();
    expect((time?.x ?? 0) + (time?.width ?? 0)).toBeLessThan(text?.x ?? 0);
  });
}

test("a finger finds whatever it can touch", async ({ enter, room }) => {
  const alice = await enter("alice", room, {
    viewport: { width: 390, height: 800 },
    hasTouch: true,
    isMobile: true,
  });
  const { page } = alice;
  const small = () =>
    page.evaluate(() =>
      [...document.querySelectorAll("button, input:not([type=checkbox]), a.room-link")]
        .map((element) => ({ box: element.getBoundingClientRect(), element }))
        .filter(({ box }) => box.height > 0 && (box.height < 44 || box.width < 44))
        .map(({ element }) => element.outerHTML),
    );
  await alice.open("general");
  await alice.write("hello");
  expect(await small()).toEqual([]);
  await page.getByRole("button", { name: /Show rooms/ }).tap();
  await expect(page.getByRole("button", { name: `Remove ${room} from the list` })).toBeVisible();
  expect(await small()).toEqual([]);
  await page.getByRole("button", { name: "Open a room" }).tap();
  await page.getByLabel("Room name").fill("a.b");
  expect(await small()).toEqual([]);
});

test("nothing moves for those who want reduced motion", async ({ enter, stack }) => {
  const alice = await enter("alice", "general", { reducedMotion: "reduce" });
  const start = stack.stopServer();
  await expect(alice.status).toContainText("Offline");
  const longest = await alice.page.evaluate(() =>
    Math.max(
      0,
      ...document.getAnimations().map(({ effect }) => Number(effect?.getTiming().duration)),
    ),
  );
  start();
  expect(longest).toBeLessThan(10);
});

/** The log-in page with a button for a provider, with and without the form, and with no way in. */
async function signInAtProvider(page: Page): Promise<void> {
  const provider = { issuer: "https://id.example", client: "chat-web", name: "Keycloak" };
  for (const { local, oidc } of [
    { local: true, oidc: provider },
    { local: false, oidc: provider },
    { local: false, oidc: null },
  ]) {
    await page.route("**/config.json", async (route) => {
      const response = await route.fetch();
      const json = { ...(await response.json()), login: { local, oidc } };
      await route.fulfill({ response, json });
    });
    await page.reload();
    const shown = oidc
      ? page.getByRole("button", { name: "Sign in with Keycloak" })
      : page.getByText("Nobody can log in here");
    await expect(shown).toBeVisible();
    await expect(page.getByLabel("Password")).toHaveCount(local ? 1 : 0);
    await check(page, `log in, local: ${local}, provider: ${oidc !== null}`);
  }
}

/** No axe findings, no sideways scrolling, and only the log scrolls. */
async function check(page: Page, view: string): Promise<void> {
  // During a transition colours belong to neither state.
  await page.evaluate(() => {
    const running = document.getAnimations().filter((one) => one instanceof CSSTransition);
    return Promise.allSettled(running.map((one) => one.finished)).then(() => {});
  });
  // The legacy mode differs only for frames of other origins, which the page does not have; it needs
  // no page of its own for each report.
  const { violations } = await new AxeBuilder({ page }).setLegacyMode().analyze();
  const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html)}`);
  expect(found, view).toEqual([]);
  const overflow = await page.evaluate(
    () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
  );
  expect(overflow, view).toBe(0);
}
