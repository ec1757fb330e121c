import { Collector } from "./collector";
import { Stack } from "./stack";
import { test as base, expect } from "./test";

/** A stack whose page exports traces to a collector. */
const test = base.extend<object, { collector: Collector; stack: Stack }>({
  collector: [
    // biome-ignore lint/correctness/noEmptyPattern: Playwright wants the pattern.
    async ({}, use) => {
      const collector = await Collector.start();
      await use(collector);
      await collector.stop();
    },
    { scope: "worker" },
  ],
  stack: [
    async ({ collector }, use) => {
      const stack = await Stack.start([], { CHAT_PAGE__TELEMETRY__ENDPOINT: collector.url });
      await use(stack);
      await stack.stop();
    },
    { scope: "worker" },
  ],
});

test("a message is one trace, to which whoever hears it links", async ({
  enter,
  room,
  collector,
}) => {
  const alice = await enter("alice", room);
  const bob = await enter("bob", room);
  await alice.write("traced");
  await bob.sees(["traced"]);

  const template = "send chat.send.{room}";
  await expect.poll(() => collector.named(template).length).toBe(1);
  const [sent] = collector.named(template);
  const [root] = collector.named("send_message");
  expect(sent?.parentSpanId).toBe(root?.spanId);
  expect(sent?.attributes).toMatchObject({
    "messaging.system": "nats",
    "messaging.destination.name": `chat.send.${room}`,
    "messaging.message.id": expect.stringMatching(/^alice:[0-9a-f-]{36}$/),
  });

  // Both receive it live: its author, and bob.
  const links = () => collector.named("process live.chat.{room}").flatMap(({ links }) => links);
  await expect
    .poll(() => links().map(({ traceId }) => traceId))
    .toEqual([sent?.traceId, sent?.traceId]);

  const asked = collector
    .named("request chat.history.{room}")
    .find(({ attributes }) => attributes["messaging.destination.name"] === `chat.history.${room}`);
  const entered = collector.named("enter_room").map(({ spanId }) => spanId);
  expect(entered).toContain(asked?.parentSpanId);
});
