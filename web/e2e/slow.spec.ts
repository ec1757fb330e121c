import { Stack } from "./stack";
import { test as base, expect } from "./test";

// `send` runs in a process of its own, so that it can be stopped.
const test = base.extend<object, { stack: Stack }>({
  stack: [
    // biome-ignore lint/correctness/noEmptyPattern: Playwright wants the pattern.
    async ({}, use) => {
      const stack = await Stack.start(["send", "admin-send"]);
      await use(stack);
      await stack.stop();
    },
    { scope: "worker" },
  ],
});

test("a message whose acknowledgement is late says that the connection is slow, until it comes", async ({
  enter,
  room,
  stack,
}) => {
  const send = stack.serve("send", "admin-send");
  const alice = await enter("alice", room);
  await alice.write("first");
  await alice.sees(["first"]);
  await expect(alice.status).toHaveText("Connected");

  send.kill("SIGSTOP");
  await alice.write("second");
  await expect(alice.status).toHaveText("Slow connection…");
  send.kill("SIGCONT");

  await alice.sees(["first", "second"]);
  await expect(alice.status).toHaveText("Connected");
  await stack.end(send);
});
