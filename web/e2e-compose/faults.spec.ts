import { setTimeout } from "node:timers/promises";
import { compose, container, containers, crash, docker, healthy, inspect, up } from "./docker";
import { Load } from "./load";
import { expect, test } from "./test";

const PER_SECOND = 200;

/** Long enough to have a few batches on their way. */
const A_WHILE_MS = 3_000;

const FUNCTIONS = ["send", "persist", "history", "page", "auth"];
const OTHERS = ["nats", "postgres", "keycloak", "collector", "jaeger"];

/** Whatever the fault was, all that runs is healthy again. */
test.afterEach(async () => {
  for (const id of await containers()) await healthy(id);
});

for (const service of [...FUNCTIONS, ...OTHERS]) {
  test(`${service} is killed under load, and comes back by itself`, async ({ signIn }) => {
    const { token } = await signIn("alice");
    const load = await Load.start(token, PER_SECOND);
    await setTimeout(A_WHILE_MS);
    const start = performance.now();
    await crash(service);
    const back = ((performance.now() - start) / 1000).toFixed(1);
    await setTimeout(A_WHILE_MS);
    console.log(`${service} is killed: healthy after ${back} s; ${await load.prove()}`);
  });
}

for (const service of FUNCTIONS) {
  test(`${service} is stopped under load: it drains in time`, async ({ signIn }) => {
    const { token } = await signIn("alice");
    const load = await Load.start(token, PER_SECOND);
    await setTimeout(A_WHILE_MS);
    const id = await container(service);
    const start = performance.now();
    await docker("stop", id);
    const took = (performance.now() - start) / 1000;
    // Docker would have killed it, with the code 137.
    expect(await inspect(id, "{{.State.ExitCode}}")).toBe("0");
    await docker("start", id);
    await healthy(id);
    console.log(`${service} is stopped: ended after ${took.toFixed(1)} s; ${await load.prove()}`);
  });
}

test("the database is away for 20 s", async ({ signIn }) => {
  const alice = await signIn("alice", `waiting-${Date.now()}`);
  const load = await Load.start(alice.token, PER_SECOND);
  await setTimeout(A_WHILE_MS);
  await compose("stop", "postgres");
  await setTimeout(10_000);
  // What is not stored yet is read from the log.
  await alice.write("stored later");
  await alice.sees(["stored later"]);
  await setTimeout(10_000);
  await compose("start", "postgres");
  await healthy(await container("postgres"));
  console.log(`the database is away for 20 s: ${await load.prove()}`);
  await alice.page.reload();
  // The page begins anew twice: here, and after it has been at Keycloak.
  await expect(alice.message("stored later")).toHaveAttribute("data-state", "sent");
});

test("more instances, and fewer again, under load", async ({ signIn }) => {
  const { token } = await signIn("alice");
  const load = await Load.start(token, PER_SECOND);
  await up("--no-recreate", "--scale", "persist=3", "--scale", "send=2");
  expect(await containers("persist")).toHaveLength(3);
  expect(await containers("send")).toHaveLength(2);
  await setTimeout(A_WHILE_MS);
  await up("--no-recreate");
  expect(await containers("persist")).toHaveLength(1);
  console.log(`persist 1, 3, 1 and send 1, 2, 1: ${await load.prove()}`);
});

test("each function is replaced in turn under load", async ({ signIn }) => {
  const { token } = await signIn("alice");
  const load = await Load.start(token, PER_SECOND);
  for (const service of FUNCTIONS) await up("--no-deps", "--force-recreate", service);
  console.log(`each function is replaced: ${await load.prove()}`);
});

test("all of it goes down and comes up, with its volumes", async ({ signIn }) => {
  const alice = await signIn("alice", "lasting");
  await alice.write("before");
  await alice.sees(["before"]);
  const load = await Load.start(alice.token, PER_SECOND);
  await setTimeout(A_WHILE_MS);
  await compose("down");
  await up();
  await setTimeout(A_WHILE_MS);
  console.log(`all of it goes down and comes up: ${await load.prove()}`);
  await alice.write("after");
  await alice.sees(["before", "after"]);
});
