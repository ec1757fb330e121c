import { defineConfig } from "@playwright/test";
import { findChromium } from "./e2e/chromium";

export default defineConfig({
  testDir: "e2e",
  testIgnore: process.env["SCREENSHOTS"] ? [] : "screenshots.spec.ts",
  // Each worker has a stack of its own. One more than there are cores on a small machine: much of
  // a test is waiting, for a minute's outage in one of them.
  workers: 3,
  fullyParallel: false,
  forbidOnly: true,
  retries: 0,
  // Guards against hanging only: on a busy machine everything takes many times as long.
  timeout: 180_000,
  expect: { timeout: 90_000 },
  reporter: [["list"]],
  use: {
    launchOptions: {
      ...(await findChromium()),
      // To Chromium a page that Playwright serves is of nowhere, and may not speak to this machine.
      args: process.env["PAGE_DIST"] ? ["--disable-features=LocalNetworkAccessChecks"] : [],
    },
    viewport: { width: 1280, height: 800 },
    // A trace costs a third of the time: `E2E_TRACE=1 npm run e2e` for whoever looks for a failure.
    trace: process.env["E2E_TRACE"] ? "retain-on-failure" : "off",
  },
});
