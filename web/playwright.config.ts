import { defineConfig } from "@playwright/test";
import { findChromium } from "./e2e/chromium";

export default defineConfig({
  testDir: "e2e",
  // Each worker has a stack of its own: two of them are what two cores carry.
  workers: 2,
  fullyParallel: false,
  forbidOnly: true,
  retries: 0,
  timeout: 60_000,
  expect: { timeout: 10_000 },
  reporter: [["list"]],
  use: {
    launchOptions: await findChromium(),
    viewport: { width: 1280, height: 800 },
    trace: "retain-on-failure",
  },
});
