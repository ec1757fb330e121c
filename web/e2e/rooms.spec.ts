import { expect, test } from "./test";

test("what alice writes in two rooms is there after a refresh", async ({ enter, room }) => {
  const alice = await enter("alice", room);
  await alice.write("first");
  await alice.write("second");
  await alice.open(`${room}-b`);
  await alice.write("elsewhere");
  await alice.sees(["elsewhere"]);

  await alice.page.reload();

  await alice.sees(["elsewhere"]);
  await alice.open(room);
  await alice.sees(["first", "second"]);
});

test("bob finds what alice wrote, and each reads the other live, nothing twice", async ({
  enter,
  room,
}) => {
  const alice = await enter("alice", room);
  await alice.write("hello bob");
  await alice.sees(["hello bob"]);

  const bob = await enter("bob", room);
  await bob.sees(["hello bob"]);
  await bob.write("hello alice");

  await alice.sees(["hello bob", "hello alice"]);
  await bob.sees(["hello bob", "hello alice"]);
});

test("two who write at once read the same, in the same order", async ({ enter, room }) => {
  const tall = { viewport: { width: 1280, height: 3000 } };
  const [alice, bob] = [await enter("alice", room, tall), await enter("bob", room, tall)];

  const say = async (person: typeof alice) => {
    for (let count = 1; count <= 15; count += 1) await person.write(`${person.name} ${count}`);
  };
  await Promise.all([say(alice), say(bob)]);

  await expect(alice.messages).toHaveCount(30);
  await expect(bob.messages).toHaveCount(30);
  const seen = await bob.texts();
  await alice.sees(seen);
  for (const name of ["alice", "bob"]) {
    const own = seen.filter((text) => text.startsWith(name));
    expect(own).toEqual(Array.from({ length: 15 }, (_, index) => `${name} ${index + 1}`));
  }
});

test("another room shows how many messages are unread, and the first of them", async ({
  enter,
  room,
}) => {
  const alice = await enter("alice", room);
  await alice.write("read already");
  const bob = await enter("bob", room);
  await bob.sees(["read already"]);
  await bob.open("general");

  await alice.write("one");
  await alice.write("two");

  const link = bob.rooms.getByRole("link", { name: room });
  await expect(link).toHaveAccessibleDescription("2 unread");
  await link.click();
  await expect(bob.page.getByText("New messages")).toBeVisible();
  await bob.sees(["read already", "one", "two"]);
  await bob.looks();
  await bob.open("general");
  await expect(link).toHaveAccessibleDescription("");
});

test("what is unread stays so over a refresh", async ({ enter, room }) => {
  const alice = await enter("alice", room);
  const bob = await enter("bob", room);
  await bob.open("general");
  await alice.write("while bob is away");
  const link = bob.rooms.getByRole("link", { name: room });
  await expect(link).toHaveAccessibleDescription("1 unread");

  await bob.page.reload();

  await expect(link).toHaveAccessibleDescription("1 unread");
});

test("a draft waits in its room, also over a refresh", async ({ enter, room }) => {
  const alice = await enter("alice", room);
  await alice.field.fill("half a thought");
  await alice.open("general");
  await expect(alice.field).toHaveValue("");
  await expect(alice.rooms.getByRole("link", { name: room })).toHaveAccessibleDescription("Draft");

  await alice.page.reload();
  await alice.open(room);

  await expect(alice.field).toHaveValue("half a thought");
});
