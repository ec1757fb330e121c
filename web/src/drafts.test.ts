// @vitest-environment happy-dom
import { beforeEach, expect, it } from "vitest";
import { Drafts } from "./drafts";
import { Keep } from "./keep";

beforeEach(() => localStorage.clear());

it("the rooms that have a draft are known, whatever else the browser kept", () => {
  const kept = { "chat/lunch": "soup", "admin/ops": "look", "chat/help": " ", "chat/a b": "x" };
  localStorage.setItem("chat.drafts.alice", JSON.stringify({ ...kept, "": "x", nowhere: "x" }));
  const drafts = new Drafts(new Keep(localStorage, "drafts", "alice", {}));
  expect(drafts.places()).toEqual([
    { realm: "chat", room: "lunch" },
    { realm: "admin", room: "ops" },
  ]);
});
