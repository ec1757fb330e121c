import { expect, fillForm, test, toKeycloak } from "./test";

// The tokens of the shared Keycloak live a minute, and a change takes effect at the next one.

test("a role that is granted or taken shows at the next token, without signing in", async ({
  signIn,
  realm,
  room,
}) => {
  await realm.invite("dana");
  const dana = await signIn("dana", room);
  await expect(dana.field).toBeHidden();
  await realm.grant("dana", "user");
  await expect(dana.field).toBeVisible();
  await dana.write("I may");
  await dana.sees(["I may"]);
  await realm.revoke("dana", "user");
  await expect(dana.field).toBeHidden();
});

test("a disabled account is out within the life of its token, and cannot come back", async ({
  signIn,
  realm,
  room,
}) => {
  await realm.invite("erin");
  await realm.grant("erin", "user");
  const erin = await signIn("erin", room);
  await erin.write("unfinished business");
  await realm.setEnabled("erin", false);
  await expect(erin.page.getByRole("alert")).toHaveAttribute("data-kind", "session-ended");
  await toKeycloak(erin);
  await fillForm(erin);
  await expect(erin.page.getByText(/disabled/i)).toBeVisible();
  await realm.setEnabled("erin", true);
  await fillForm(erin);
  await erin.sees(["unfinished business"]);
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
