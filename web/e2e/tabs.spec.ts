import { Person } from "./person";
import type { Stack } from "./stack";
import { expect, test } from "./test";

test("two tabs of one person show the same, and what waits goes out once", async ({
  enter,
  room,
  stack,
}) => {
  const first = await enter("alice", room);
  const bob = await enter("bob", room);
  const second = await anotherTab(first, stack, room);

  await first.write("from the first");
  await second.write("from the second");
  await bob.sees(["from the first", "from the second"]);
  await first.sees(["from the first", "from the second"]);
  await second.sees(["from the first", "from the second"]);

  await first.page.context().setOffline(true);
  await first.write("waits in the first");
  await second.write("waits in the second");
  await first.page.context().setOffline(false);

  for (const person of [bob, first, second]) {
    await expect(person.messages).toHaveCount(4);
    await expect(person.message("waits in the first")).toHaveCount(1);
    await expect(person.message("waits in the second")).toHaveCount(1);
  }
});

test("a draft is the same in two tabs of one person, and neither takes it from the other", async ({
  enter,
  room,
  stack,
}) => {
  const first = await enter("alice", room);
  const second = await anotherTab(first, stack, room);

  await first.field.fill("a long draft");
  await expect(second.field).toHaveValue("a long draft");
  await second.field.fill("a long draft, and its end");
  await expect(first.field).toHaveValue("a long draft, and its end");
  await first.open("general");
  await first.open(room);
  await expect(first.field).toHaveValue("a long draft, and its end");

  await second.field.press("Enter");
  await expect(first.field).toHaveValue("");
  await first.sees(["a long draft, and its end"]);
  await first.page.reload();
  await expect(first.field).toHaveValue("");
});

async function anotherTab(of: Person, stack: Stack, room: string): Promise<Person> {
  const page = await of.page.context().newPage();
  await page.goto(`${stack.page}/#/chat/${room}`);
  const person = new Person(page, of.name);
  await person.logIn();
  await expect(person.log(room)).toHaveAttribute("aria-busy", "false");
  return person;
}
