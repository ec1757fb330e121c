// @vitest-environment happy-dom
import { beforeEach, expect, it, vi } from "vitest";
import { Drafts } from "./drafts";
import { StoredValue } from "./stored-value";

const LUNCH = { realm: "chat", room: "lunch" } as const;
const OPS = { realm: "admin", room: "ops" } as const;

const tab = () => new Drafts(new StoredValue(localStorage, "drafts", "alice", {}));

beforeEach(() => localStorage.clear());

it("the rooms with a draft are known, whatever else is stored", () => {
  const kept = { "chat/lunch": "soup", "admin/ops": "look", "chat/help": " ", "chat/a b": "x" };
  localStorage.setItem("chat.drafts.alice", JSON.stringify({ ...kept, "": "x", nowhere: "x" }));
  expect(tab().places()).toEqual([LUNCH, OPS]);
});

it("another tab's drafts in other rooms stay, even before this tab knows them", () => {
  const [here, there] = [tab(), tab()];
  there.set(LUNCH, "soup");
  here.set(OPS, "look");
  expect([tab().of(LUNCH), tab().of(OPS)]).toEqual(["soup", "look"]);
});

it("without storage this tab still has its drafts", () => {
  const full = vi.spyOn(Storage.prototype, "setItem").mockImplementation(() => {
    throw new DOMException("full", "QuotaExceededError");
  });
  const here = tab();
  here.set(LUNCH, "soup");
  here.set(OPS, "look");
  full.mockRestore();
  expect([here.of(LUNCH), here.of(OPS)]).toEqual(["soup", "look"]);
});
