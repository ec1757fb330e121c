import { defineConfig } from "@playwright/test";
import base from "./playwright.config";

/** The tests with a real Keycloak: `cargo xtask test keycloak`. */
export default defineConfig(base, {
  testDir: "e2e-keycloak",
  globalSetup: "./e2e-keycloak/setup.ts",
  workers: 2,
});
