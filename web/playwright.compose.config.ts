import { defineConfig } from "@playwright/test";
import base from "./playwright.config";

/** The tests of the whole system as docker-compose.yml runs it: `cargo xtask test compose`. */
export default defineConfig(base, {
  testDir: "e2e-compose",
  globalSetup: "./e2e-compose/setup.ts",
  // There is one system, and most tests take a part of it away.
  workers: 1,
  timeout: 300_000,
});
