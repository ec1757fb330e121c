// @vitest-environment happy-dom
import { afterEach, expect, it, vi } from "vitest";
import { browserTabs } from "./tabs";

afterEach(() => vi.unstubAllGlobals());

const denied = () => {
  throw new DOMException("Access is denied.", "SecurityError");
};

it("a tab without locks and channel does its work alone", async () => {
  vi.stubGlobal("BroadcastChannel", denied);
  vi.stubGlobal("navigator", { locks: { request: async () => denied() } });
  const tabs = browserTabs<string>("x", () => {});
  let done = 0;
  await tabs.exclusively(async () => {
    done += 1;
  });
  tabs.tell("news");
  tabs.close();
  expect(done).toBe(1);
});

it("work that fails under a lock is not repeated without one", async () => {
  const request = async (_: string, work: () => Promise<void>) => work();
  vi.stubGlobal("navigator", { locks: { request } });
  const tabs = browserTabs<string>("y", () => {});
  let done = 0;
  const work = async () => {
    done += 1;
    throw new Error("it failed");
  };
  await expect(tabs.exclusively(work)).rejects.toThrow("it failed");
  tabs.close();
  expect(done).toBe(1);
});
