import { Keycloak } from "./keycloak";
import { test as base, expect, fillForm, toKeycloak } from "./test";

// Its own Keycloak, which is stopped.
const test = base.extend<object, { realm: Keycloak }>({
  realm: [
    // biome-ignore lint/correctness/noEmptyPattern: Playwright wants the pattern.
    async ({}, use) => {
      const keycloak = await Keycloak.start();
      await keycloak.setTokenLife(TOKEN_S);
      await use(keycloak);
      await keycloak.stop();
    },
    { scope: "worker", timeout: 300_000 },
  ],
});

/** Short, so that a token ends during an outage. */
const TOKEN_S = 20;

const UNAVAILABLE = "The sign-in service is unavailable. Trying again.";

for (const how of ["stalls", "stops"] as const) {
  test(`Keycloak ${how}: sessions go on, and whoever signs in waits for it`, async ({
    signIn,
    visit,
    realm,
    room,
  }) => {
    test.setTimeout(400_000);
    const alice = await signIn("alice", room);
    const bob = await visit("bob", `#/chat/${room}`);
    const back = how === "stalls" ? realm.freeze() : await killed(realm);
    try {
      const clicked = Date.now();
      await toKeycloak(bob);
      await expect(bob.page.getByRole("alert")).toContainText(UNAVAILABLE);
      expect(Date.now() - clicked).toBeLessThan(3_500);
      await alice.write("still here");
      await expect(alice.message("still here")).toBeVisible();

      // Her token ends, and she writes on.
      await expect(alice.page.getByText(UNAVAILABLE)).toBeVisible();
      await alice.write("from the outbox");
      await expect(bob.page.getByRole("alert")).toContainText(UNAVAILABLE);
    } finally {
      await back();
    }
    await fillForm(bob);
    await alice.sees(["still here", "from the outbox"]);
    await bob.sees(["still here", "from the outbox"]);
  });
}

test("a page that is reloaded while Keycloak is away shows itself, and signs in after it", async ({
  signIn,
  realm,
  room,
}) => {
  const bob = await signIn("bob", room);
  const thaw = realm.freeze();
  try {
    await bob.page.reload();
    await expect(bob.page.getByText(UNAVAILABLE)).toBeVisible();
    await bob.write("written meanwhile");
  } finally {
    thaw();
  }
  await expect(bob.message("written meanwhile")).toHaveAttribute("data-state", "sent");
  await bob.sees(["written meanwhile"]);
});

async function killed(keycloak: Keycloak): Promise<() => Promise<void>> {
  await keycloak.kill();
  return () => keycloak.restart();
}
