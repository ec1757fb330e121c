import { expect, test } from "./test";

test("code is shown as it was written, and copied with what marks it", async ({ enter, room }) => {
  const alice = await enter("alice", room, { permissions: ["clipboard-read", "clipboard-write"] });
  const text = "Run `npm ci` first:\n```sh\nif <b>; then\n    https://no.link\n```\nhttps://a.link";
  await alice.write(text);
  const bob = await enter("bob", room);
  await bob.sees(["Run npm ci first:\nif <b>; then\n    https://no.link\nhttps://a.link"]);

  const code = bob.page.locator("article code");
  await expect(code).toHaveText(["npm ci", "if <b>; then\n    https://no.link"]);
  await expect(bob.page.locator("article .text a")).toHaveText(["https://a.link"]);
  await alice.messages.first().hover();
  await alice.messages.first().getByRole("button", { name: "Copy text" }).click();
  await expect(alice.messages.first().getByRole("button", { name: "Copied" })).toBeVisible();
  expect(await alice.page.evaluate(() => navigator.clipboard.readText())).toBe(text);
});
