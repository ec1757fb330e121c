import { expect, it } from "vitest";
import { readMe } from "./permissions";

function me(user: string, ...allow: string[]) {
  return readMe({ user, permissions: { publish: { allow } } });
}

it("permissions tell who may write, and who is an admin", () => {
  const read = "chat.history.*";
  expect(me("charlie", read)).toMatchObject({ mayWrite: false, isAdmin: false });
  expect(me("bob", read, "chat.send.*")).toMatchObject({ mayWrite: true, isAdmin: false });
  const admin = me("alice", "chat.>", "admin.history.*", "admin.send.*");
  expect(admin).toMatchObject({ mayWrite: true, isAdmin: true });
  expect(me("nobody", "chat.send.*")).toBeNull();
  expect(me("nearly", "chat.history", "chat.history.general.x")).toBeNull();
});

it("the user name contains the display name, percent-encoded", () => {
  const read = "chat.history.*";
  expect(me("o-1~J%C3%BCrgen%20~", read)).toMatchObject({ uid: "o-1", name: "Jürgen ~" });
  expect(me("bob", read)).toMatchObject({ uid: "bob", name: "bob" });
  expect(me("bob~%E0", read)).toBeNull();
});
