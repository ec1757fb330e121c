import { Person } from "../e2e/person";
import { expect, fillForm, openTab, test, toKeycloak } from "./test";

test("people sign in at Keycloak, with the rights of their roles there", async ({
  signIn,
  room,
}) => {
  const [alice, bob] = [await signIn("alice", room), await signIn("bob", room)];
  await alice.write("from Keycloak");
  await expect(bob.message("from Keycloak")).toBeVisible();
  await expect(bob.page.getByRole("article").getByText("Alice Archer")).toBeVisible();
  await expect(alice.rooms.getByText("Admin rooms")).toBeVisible();
  await expect(bob.rooms.getByText("Admin rooms")).toBeHidden();

  const charlie = await signIn("charlie", room);
  await expect(charlie.message("from Keycloak")).toBeVisible();
  await expect(charlie.field).toBeHidden();
});

test("a reload asks nothing, keeps the address, and no token is stored or shown", async ({
  signIn,
  room,
}) => {
  const bob = await signIn("bob", room);
  await bob.write("kept");
  await bob.sees(["kept"]);
  await bob.page.reload();
  // The page begins anew twice: here, and after it has been at Keycloak.
  await expect(bob.message("kept")).toHaveAttribute("data-state", "sent");
  await bob.sees(["kept"]);
  expect(bob.page.url()).toMatch(new RegExp(`/#/chat/${room}$`));
  const stored = await bob.page.evaluate(() =>
    JSON.stringify({ ...sessionStorage, ...localStorage }),
  );
  expect(stored).not.toMatch(/eyJ|code|verifier/);
});

test("another tab asks nothing either, and logging out ends the session at Keycloak too", async ({
  signIn,
  stack,
}) => {
  const bob = await signIn("bob");
  const tab = await openTab(bob.page.context(), stack.page, "bob");
  await toKeycloak(tab);
  await expect(tab.rooms).toBeVisible();

  await bob.page.getByRole("button", { name: "Log out" }).click();
  await expect(bob.page.getByRole("button", { name: "Sign in with Keycloak" })).toBeVisible();
  expect(new URL(bob.page.url()).origin).toBe(stack.page);
  await toKeycloak(bob);
  await expect(bob.page.getByLabel("Username or email")).toBeVisible();

  // Somebody else may sign in now.
  const alice = new Person(bob.page, "alice");
  await fillForm(alice);
  await expect(alice.rooms.getByText("Admin rooms")).toBeVisible();
});

test("whoever comes back from Keycloak's form without signing in can try again", async ({
  visit,
}) => {
  const bob = await visit("bob");
  await toKeycloak(bob);
  await expect(bob.page.getByLabel("Username or email")).toBeVisible();
  await bob.page.goBack();
  await toKeycloak(bob);
  await fillForm(bob);
  await expect(bob.rooms).toBeVisible();
});

test("a local user still logs in with a password", async ({ enter, room }) => {
  const alice = await enter("alice", room);
  await expect(alice.status).toHaveText("Connected");
});

test("an answer that the page did not ask for signs nobody in", async ({ visit, stack }) => {
  const mallory = await visit("mallory");
  await mallory.page.goto(`${stack.page}/?code=stolen&state=guessed#/chat/general`);
  await expect(mallory.page.getByRole("button", { name: "Sign in with Keycloak" })).toBeVisible();
  expect(new URL(mallory.page.url()).search).toBe("");
});
