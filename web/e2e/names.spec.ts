import { expect, test } from "./test";

const REFUSED = ["a.b", "*", ">", "a b", "a\r\nb", "", "x".repeat(300), "История", "$SYS", "a/b/c"];

test("an address that names no room says so, and nothing is asked for", async ({ enter }) => {
  const alice = await enter("alice");
  const sent: string[] = [];
  alice.page.on("websocket", (socket) => {
    socket.on("framesent", ({ payload }) => sent.push(payload.toString()));
  });
  await alice.page.reload();
  await expect(alice.status).toHaveText("Connected");

  for (const name of REFUSED) {
    await alice.page.evaluate(
      (hash) => {
        location.hash = hash;
      },
      `#/chat/${encodeURIComponent(name)}`,
    );
    await expect(alice.page.getByText("There is no such room")).toBeVisible();
    await expect(alice.field).toBeHidden();
    await alice.open("general");
  }

  const subjects = sent.join("").matchAll(/(?:PUB|SUB) (\S+)/g);
  const expected =
    /^(_INBOX\.u\.alice\.|chat\.history\.[\w-]+$|live\.|\$SYS\.REQ\.USER\.INFO$|admin\.history\.[\w-]+$)/;
  for (const [, subject] of subjects) expect(subject).toMatch(expected);
});

test("__proto__ and constructor are ordinary rooms", async ({ enter }) => {
  const alice = await enter("alice");
  for (const name of ["__proto__", "constructor", "toString"]) {
    await alice.open(name);
    await alice.write(`in ${name}`);
    await alice.sees([`in ${name}`]);
    await expect(alice.rooms.getByRole("link", { name })).toBeVisible();
  }
  await alice.page.reload();
  await alice.open("__proto__");
  await alice.sees(["in __proto__"]);
});

test("the dialog opens any room by its name, and only by a name", async ({ enter, room }) => {
  const alice = await enter("alice");
  await alice.page.getByRole("button", { name: "Open a room" }).click();
  const name = alice.page.getByLabel("Room name");
  await name.fill("a.b");
  await expect(alice.page.getByRole("button", { name: "Open", exact: true })).toBeDisabled();
  await name.fill(room);
  await name.press("Enter");
  await expect(alice.log(room)).toBeVisible();
  await expect(alice.rooms.getByRole("link", { name: room })).toHaveAttribute(
    "aria-current",
    "page",
  );
});

test("a long name of a room is one sentence with what stands around it", async ({ enter }) => {
  const name = `the-${"long-".repeat(11)}name`;
  const alice = await enter("alice", name, { viewport: { width: 360, height: 740 } });
  await alice.write("first");

  const begin = alice.page.locator(".log-begin");
  await expect(begin).toHaveText(`This is the beginning of ${name}.`, { useInnerText: true });
  const hidden = await begin.evaluate((box) => box.scrollWidth - box.clientWidth);
  expect(hidden).toBe(0);
});
