import { PATIENT } from "./stack";
import { expect, test } from "./test";

const HOSTILE = [
  "<img src=x onerror=\"document.title='owned'\">",
  "<script>document.title='owned'</script>",
  "javascript:document.title='owned'",
  "data:text/html,<script>alert(1)</script>",
  "https://ok.example/\"onmouseover=\"document.title='owned'",
  "\u202Etxet desrever\u202C",
  "__proto__ constructor {{7*7}} $(7*7) %3Cscript%3E",
  "a\u0007b\u001bc",
  "W".repeat(3000),
  "z\u0351\u0352\u0353\u0354\u0355\u0356\u0357\u0358\u0359\u035a\u035b".repeat(60),
];

test("hostile text is shown as text and nothing else", async ({ enter, room, complaints }) => {
  const alice = await enter("alice", room);
  for (const text of HOSTILE) await alice.write(text);
  const bob = await enter("bob", room);

  for (const text of HOSTILE) await expect.poll(() => bob.texts()).toContain(text);

  const page = bob.page;
  expect(await page.title()).not.toContain("owned");
  await expect(page.locator("[role=log] :is(script, img, iframe, svg foreignObject)")).toHaveCount(
    0,
  );
  const links = page.locator("[role=log] .text a");
  for (const link of await links.all()) {
    expect(await link.getAttribute("href")).toMatch(/^(https?|mailto):/);
    expect(await link.getAttribute("rel")).toBe("noopener noreferrer");
  }
  await expect(links).toHaveCount(1);
  const scrolls = await page.evaluate(
    () => document.documentElement.scrollWidth > document.documentElement.clientWidth,
  );
  expect(scrolls).toBe(false);
  expect(complaints).toEqual([]);
});

test("a hostile name turns no direction and breaks nothing", async ({ enter, room, stack }) => {
  const backend = await stack.connect("backend");
  const user = `\u202E<b>evil</b>\u2066 ${"N".repeat(300)}`;
  const stored = { user, text: "from a back end", timestamp: 0 };
  await backend.request(`chat.${room}`, JSON.stringify(stored), PATIENT);
  await backend.request(
    `chat.${room}`,
    JSON.stringify({ ...stored, user: "\u202E\u200B" }),
    PATIENT,
  );
  await backend.close();

  const bob = await enter("bob", room);

  const author = bob.page.locator("article .author bdi");
  await expect(author).toHaveText([`<b>evil</b> ${"N".repeat(300)}`, "(no name)"]);
  await expect(bob.page.locator("article b")).toHaveCount(0);
  await bob.sees(["from a back end", "from a back end"]);
});

test("what a program writes is told from what people do", async ({ enter, room, stack }) => {
  const backend = await stack.connect("backend");
  const stored = { user: "alice", text: "from a program", timestamp: Date.now() };
  await backend.request(`chat.${room}`, JSON.stringify(stored), PATIENT);
  await backend.close();
  const alice = await enter("alice", room);
  await alice.write("from a person");
  await alice.sees(["from a program", "from a person"]);

  await expect(alice.message("from a program").getByText("App", { exact: true })).toBeVisible();
  await expect(alice.message("from a person").getByText("App", { exact: true })).toBeHidden();
});

test("text that turns its direction turns nothing around it, and is copied as it is", async ({
  enter,
  room,
}) => {
  const alice = await enter("alice", room, { permissions: ["clipboard-read", "clipboard-write"] });
  const text = "\u202Eabc https://a.example/x def";
  await alice.write(text);
  await alice.sees([text]);

  // Letter positions: the text runs from right to left, the address and the name do not.
  const message = alice.messages.first();
  expect(await message.locator(".text").evaluate(runsLeftToRight)).toBe(false);
  expect(await message.locator(".text a").evaluate(runsLeftToRight)).toBe(true);
  expect(await message.locator(".author bdi").evaluate(runsLeftToRight)).toBe(true);
  await message.hover();
  await message.getByRole("button", { name: "Copy text" }).click();
  await expect(message.getByRole("button", { name: "Copied" })).toBeVisible();
  expect(await alice.page.evaluate(() => navigator.clipboard.readText())).toBe(text);
});

/** Whether the third letter of the element is to the right of its second one. */
function runsLeftToRight(element: Element): boolean {
  const node = document.createTreeWalker(element, NodeFilter.SHOW_TEXT).nextNode();
  const left = (index: number) => {
    const range = document.createRange();
    range.setStart(node as Node, index);
    range.setEnd(node as Node, index + 1);
    return range.getBoundingClientRect().left;
  };
  return left(2) > left(1);
}

test("the page loads nothing from elsewhere, and its policy is not broken once", async ({
  page,
  stack,
}) => {
  const foreign: string[] = [];
  const complaints: string[] = [];
  page.on("request", (request) => {
    if (new URL(request.url()).origin !== new URL(stack.page).origin) foreign.push(request.url());
  });
  page.on("console", (message) => {
    if (message.type() === "error") complaints.push(message.text());
  });
  const answer = await page.goto(stack.page);
  await expect(page.getByRole("button", { name: "Log in" })).toBeVisible();

  expect(answer?.headers()["content-security-policy"]).toContain("default-src 'none'");
  expect(foreign).toEqual([]);
  expect(complaints).toEqual([]);
});
