import { Person } from "./person";
import { expect, test } from "./test";

test("two tabs of one person show the same, and what waits goes out once", async ({
  enter,
  room,
  stack,
}) => {
  const first = await enter("alice", room);
  const bob = await enter("bob", room);
  const page = await first.page.context().newPage();
  await page.goto(`${stack.page}/#/chat/${room}`);
  const second = new Person(page, "alice");
  await second.logIn();
  await expect(second.log(room)).toHaveAttribute("aria-busy", "false");

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
