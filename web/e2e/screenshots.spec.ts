import { randomUUID } from "node:crypto";
import { shoot } from "./shoot";
import { PATIENT, type Stack } from "./stack";
import { expect, test } from "./test";

// `npm run screenshots` renews the pictures in docs/; other runs skip this file.

const DESKTOP = { viewport: { width: 1280, height: 800 } };
const PHONE = { viewport: { width: 390, height: 780 } };
const MINUTE = 60_000;

/** Who said what, how many minutes ago. */
const TALK: readonly [minutes: number, user: string, text: string][] = [
  [
    1500,
    "Maya Okafor",
    "The new release is on the lab machines. Please try the reconnect, I pulled the cable twice and it caught up both times.",
  ],
  [1496, "Jonas Weber", "Tried it on the train. Three tunnels, nothing lost, nothing twice."],
  [1495, "Jonas Weber", "The banner is a bit loud for my taste, but at least one knows."],
  [1480, "Priya Raman", "I would keep it. People send things they think went out."],
  [
    74,
    "Maya Okafor",
    "Morning! Numbers of the night:\n```\nmessages stored   1,204,118\ndead letters              2\nslowest batch         18 ms\n```",
  ],
  [
    71,
    "Priya Raman",
    "The two dead letters are mine: a script that still sends the old format. Fixed, and I replayed both.",
  ],
  [69, "Jonas Weber", "Is there a page that explains what the columns mean?"],
  [
    68,
    "Maya Okafor",
    "https://docs.nats.io/nats-concepts/jetstream is where I would start, and the README has the table.",
  ],
  [42, "Jonas Weber", "Thanks, that was what I needed."],
  [31, "Deploys", "`v0.9.2` is on the lab machines."],
  [23, "Priya Raman", "Can somebody look at the trim task before noon? It is ten lines."],
];

test("login", async ({ visit }) => {
  const { page } = await visit("alice", "", { ...DESKTOP, colorScheme: "light" });
  await shoot(page, "docs/login.webp");
});

for (const colorScheme of ["light", "dark"] as const) {
  test(`a lively room, ${colorScheme}`, async ({ enter, stack }) => {
    await talk(stack, `team-${colorScheme}`);
    const alice = await enter("alice", "random", { ...DESKTOP, colorScheme });
    await alice.open("help");
    await alice.open(`team-${colorScheme}`);
    await alice.write("On it.");
    const bob = await enter("bob", `team-${colorScheme}`);
    await bob.write(
      "Reading it too. The second condition could be its own function, else it is fine.",
    );
    await say(stack, "random", ["Cake in the kitchen", "It was good", "It is gone"]);
    await say(stack, "help", ["How do I replay a dead letter?"]);
    await expect(alice.rooms.getByText("3 unread")).toBeVisible();
    await alice.message("On it.").hover();
    await shoot(alice.page, `docs/room-${colorScheme}.webp`);
    await bob.page.context().close();
  });
}

test("a phone", async ({ enter, stack }) => {
  await talk(stack, "team");
  const alice = await enter("alice", "team", { ...PHONE, colorScheme: "light", hasTouch: true });
  await alice.write("On it.");
  await shoot(alice.page, "docs/phone.webp");
});

test("offline with messages that wait", async ({ enter, stack }) => {
  await talk(stack, "train");
  const alice = await enter("alice", "train", { ...DESKTOP, colorScheme: "light" });
  await alice.page.context().setOffline(true);
  await expect(alice.status).toContainText("Offline");
  await alice.write("On it, as soon as this tunnel ends.");
  await alice.write("The first condition looks right to me.");
  await expect(alice.page.getByText("2 messages wait")).toBeVisible();
  await expect(alice.page.getByText("Waiting to be sent")).toBeVisible();
  await shoot(alice.page, "docs/offline.webp");
});

test("read only", async ({ enter, stack }) => {
  await talk(stack, "news");
  const charlie = await enter("charlie", "news", { ...DESKTOP, colorScheme: "light" });
  await shoot(charlie.page, "docs/read-only.webp");
});

async function talk(stack: Stack, room: string): Promise<void> {
  const backend = await stack.connect("backend");
  for (const [minutes, user, text] of TALK) {
    const timestamp = Date.now() - minutes * MINUTE;
    await backend.request(`chat.${room}`, JSON.stringify(by(user, text, timestamp)), PATIENT);
  }
  await backend.close();
}

async function say(stack: Stack, room: string, texts: readonly string[]): Promise<void> {
  const backend = await stack.connect("backend");
  for (const text of texts) {
    const message = by("Maya Okafor", text, Date.now());
    await backend.request(`chat.${room}`, JSON.stringify(message), PATIENT);
  }
  await backend.close();
}

/** Publishes a message in a person's name. Without uid and id it is a back end's, like `Deploys`. */
function by(user: string, text: string, timestamp: number) {
  if (user === "Deploys") return { user, text, timestamp };
  const uid = user.toLowerCase().replace(" ", "-");
  return { id: randomUUID(), user, uid, text, timestamp };
}
