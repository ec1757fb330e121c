import { Network } from "./network";
import { PATIENT, Stack } from "./stack";
import { test as base, expect } from "./test";

// Its own stack: roles change.
const test = base.extend<object, { stack: Stack }>({
  stack: [
    // biome-ignore lint/correctness/noEmptyPattern: Playwright wants the pattern.
    async ({}, use) => {
      const stack = await Stack.start();
      await use(stack);
      await stack.stop();
    },
    { scope: "worker" },
  ],
});

test("a role that is taken and given back shows at the next connection, and then the room is whole", async ({
  enter,
  room,
  stack,
}) => {
  const network = await Network.start();
  const alice = await enter("alice", "general", { proxy: network.proxy });
  await alice.open(room, "admin");
  await alice.write("before");
  await alice.sees(["before"]);

  stack.setRoles("alice", ["user"]);
  network.sever();
  await expect(alice.page.getByText("This room is for admins")).toBeVisible();
  await expect(alice.field).toBeHidden();
  const backend = await stack.connect("backend");
  const message = { user: "Ada", text: "meanwhile", timestamp: Date.now() };
  await backend.request(`admin.${room}`, JSON.stringify(message), PATIENT);
  await backend.close();

  stack.setRoles("alice", ["admin", "user"]);
  network.sever();
  await alice.sees(["before", "meanwhile"]);
  await alice.write("after");
  await alice.sees(["before", "meanwhile", "after"]);
  network.stop();
});
