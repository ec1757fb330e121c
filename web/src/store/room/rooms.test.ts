// @vitest-environment happy-dom
import { beforeEach, expect, it } from "vitest";
import type { Place } from "../../model/place";
import { StoredValue } from "../storage/stored-value";
import { Rooms } from "./rooms";

function rooms() {
  const visited = new StoredValue<readonly Place[]>(localStorage, "rooms", "alice", []);
  return new Rooms(visited, () => ({
    changed: () => {},
    ask: () => Promise.reject(new Error("nobody asks here")),
    heard: () => {},
  }));
}

const names = (places: readonly Place[]) => places.map(({ realm, room }) => `${realm}/${room}`);

const EVERYBODY = ["chat/general", "chat/random", "chat/help"];

beforeEach(() => localStorage.clear());

it("admin rooms are listed last, and for admins only", () => {
  const listed = rooms();
  listed.visit({ realm: "admin", room: "ops" });
  listed.visit({ realm: "chat", room: "lunch" });
  expect(names(listed.list(null, false))).toEqual([...EVERYBODY, "chat/lunch"]);
  expect(names(listed.list(null, true))).toEqual([
    ...EVERYBODY,
    "chat/lunch",
    "admin/staff",
    "admin/ops",
  ]);
});

it("a visited room stays listed until it is left", () => {
  const lunch: Place = { realm: "chat", room: "lunch" };
  rooms().visit(lunch);
  const listed = rooms();
  expect(names(listed.list(lunch, false))).toEqual([...EVERYBODY, "chat/lunch"]);
  expect([listed.canLeave(lunch), listed.canLeave({ realm: "chat", room: "help" })]).toEqual([
    true,
    false,
  ]);
  listed.forget(lunch);
  expect(names(rooms().list(null, false))).toEqual(EVERYBODY);
});

it("a room with the person's drafts or messages is listed, if they may read it", () => {
  const held: readonly Place[] = [
    { realm: "chat", room: "lunch" },
    { realm: "chat", room: "help" },
    { realm: "admin", room: "ops" },
  ];
  expect(names(rooms().list(null, false, held))).toEqual([...EVERYBODY, "chat/lunch"]);
  expect(names(rooms().list(null, true, held))).toContain("admin/ops");
});

it("a room that is no longer listed has no driver", () => {
  const listed = rooms();
  const general: Place = { realm: "chat", room: "general" };
  const random: Place = { realm: "chat", room: "random" };
  listed.keep([general, random]);
  const driver = listed.find(general);
  listed.keep([general]);
  expect([listed.find(general), listed.find(random)]).toEqual([driver, undefined]);
});
