import { expect, fillForm, test, toKeycloak } from "./test";

// The tokens of the shared Keycloak live a minute, and a change takes effect at the next one.

test("a role that is granted or taken shows at the next token, without signing in", async ({
  signIn,
  realm,
  room,
}) => {
  const charlie = await signIn("charlie", room);
  await expect(charlie.field).toBeHidden();
  await realm.grant("charlie", "user");
  try {
    await expect(charlie.field).toBeVisible();
    await charlie.write("I may");
    await charlie.sees(["I may"]);
  } finally {
    await realm.revoke("charlie", "user");
  }
  await expect(charlie.field).toBeHidden();
});

test("a disabled account is out within the life of its token, and cannot come back", async ({
  signIn,
  realm,
  room,
}) => {
  const bob = await signIn("bob", room);
  await bob.write("unfinished business");
  await realm.setEnabled("bob", false);
  try {
    await expect(bob.page.getByRole("alert")).toHaveAttribute("data-kind", "session-ended");
    await toKeycloak(bob);
    await fillForm(bob);
    await expect(bob.page.getByText(/disabled/i)).toBeVisible();
  } finally {
    await realm.setEnabled("bob", true);
  }
  await fillForm(bob);
  await bob.sees(["unfinished business"]);
});

test("with a new key people sign in at once, and sessions go on", async ({
  signIn,
  realm,
  room,
}) => {
  const alice = await signIn("alice", room);
  await realm.rotateKeys();
  const bob = await signIn("bob", room);
  await bob.write("signed by the new key");
  await alice.sees(["signed by the new key"]);
});
