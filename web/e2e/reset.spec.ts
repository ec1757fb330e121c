import { withoutTimer } from "./loss";
import { PATIENT } from "./stack";
import { expect, test } from "./test";

const OLD = ["old 1", "old 2", "old 3"];
const LOST = "not stored in time";
const QUEUED = "queued meanwhile";
const NEW = ["new 1", "new 2"];

const NOT_TAKEN = "The chat takes no messages at the moment.";

const HOUR_MS = 3_600_000;

test("the log is lost and recreated: a room goes on with what it had, and what waits is sent once", async ({
  enter,
  room,
  stack,
}) => {
  const alice = await enter("alice", room);
  const bob = await enter("bob", room);
  await withoutTimer(bob.page);
  await bob.page.reload();
  for (const text of OLD) await alice.write(text);
  await bob.sees(OLD);
  const operator = await stack.connect("operator");
  const ask = async (what: string, body?: object) =>
    (await operator.request(`$JS.API.${what}`, JSON.stringify(body), PATIENT)).json<object>();
  await expect
    .poll(() => ask("CONSUMER.INFO.CHAT_MESSAGES.chat-persist"))
    .toMatchObject({ num_pending: 0, num_ack_pending: 0 });
  // Messages that are not in the database yet are lost with the log.
  const pause = { pause_until: new Date(Date.now() + HOUR_MS) };
  await ask("CONSUMER.PAUSE.CHAT_MESSAGES.chat-persist", pause);
  await bob.write(LOST);
  for (const person of [alice, bob]) await person.sees([...OLD, LOST]);

  expect(await ask("STREAM.DELETE.CHAT_MESSAGES")).toMatchObject({ success: true });
  await alice.write(QUEUED);
  await expect(alice.message(QUEUED).getByText(NOT_TAKEN)).toBeVisible();
  await stack.setUp();

  await alice.sees([...OLD, QUEUED]);
  await expect.poll(() => bob.texts()).toEqual([...OLD, QUEUED]);
  // The new log counts from 1 again: these get sequences of old messages.
  for (const text of NEW) await bob.write(text);
  const all = [...OLD, QUEUED, ...NEW];
  for (const person of [alice, bob]) await person.sees(all);
  for (const person of [alice, bob]) {
    await person.page.reload();
    await person.sees(all);
  }
  await operator.close();
});
