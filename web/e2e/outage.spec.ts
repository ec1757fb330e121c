import { expect, test } from "./test";

const FORTY = Array.from({ length: 40 }, (_, index) => `message ${index + 1}`);
const TALL = { viewport: { width: 1280, height: 3200 } };

test("40 messages sent while the server is stopped arrive once and in order", async ({
  enter,
  room,
  stack,
}) => {
  const alice = await enter("alice", room, TALL);
  const bob = await enter("bob", room, TALL);
  await alice.write("before");
  await bob.sees(["before"]);

  const start = stack.stopServer();
  await expect(alice.status).toContainText("Offline");
  for (const text of FORTY) await alice.write(text);
  await expect(alice.page.getByText("40 messages wait")).toBeVisible();
  start();

  await alice.sees(["before", ...FORTY]);
  await bob.sees(["before", ...FORTY]);
  await expect(alice.status).toHaveText("Connected");
  await bob.page.reload();
  await bob.sees(["before", ...FORTY]);
});

test("messages that wait survive a refresh in the middle of an outage", async ({
  enter,
  room,
  stack,
}) => {
  const alice = await enter("alice", room);
  const bob = await enter("bob", room);
  const start = stack.stopServer();
  await expect(alice.status).toContainText("Offline");
  await alice.write("one");
  await alice.write("two");
  await alice.field.fill("a draft");
  await expect(alice.page.getByText("2 messages wait")).toBeVisible();

  // The process that serves the page is stopped with the server.
  start();
  await alice.page.reload();

  await bob.sees(["one", "two"]);
  await alice.sees(["one", "two"]);
  await expect(alice.field).toHaveValue("a draft");
});

test("what others wrote during an outage is there after it, in its place", async ({
  enter,
  room,
}) => {
  const alice = await enter("alice", room);
  const bob = await enter("bob", room);
  await alice.write("before");
  await bob.sees(["before"]);
  await bob.field.fill("half written");

  await bob.page.context().setOffline(true);
  await alice.write("meanwhile 1");
  await alice.write("meanwhile 2");
  await alice.sees(["before", "meanwhile 1", "meanwhile 2"]);
  await bob.page.context().setOffline(false);

  await bob.sees(["before", "meanwhile 1", "meanwhile 2"]);
  await expect(bob.field).toHaveValue("half written");
});

test("a server that hangs is noticed, and nothing is lost over it", async ({
  enter,
  room,
  stack,
}) => {
  const alice = await enter("alice", room);
  const bob = await enter("bob", room);
  const thaw = stack.freezeServer();
  await alice.write("into the void");
  await expect(alice.message("into the void")).not.toHaveAttribute("data-state", "sent");
  await expect(alice.status).toContainText("Offline");
  await alice.write("and after it");
  thaw();
  await bob.sees(["into the void", "and after it"]);
  await alice.sees(["into the void", "and after it"]);
});
