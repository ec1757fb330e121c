import { fileURLToPath } from "node:url";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";
import { compress } from "./compress.ts";
import { configuration, findStack, through } from "./stack.ts";

const stack = await findStack();

export default defineConfig({
  plugins: [react(), compress(), ...(stack ? [configuration(stack)] : [])],
  // The page's Content-Security-Policy refuses inline scripts and data: URLs of anything but
  // images, so small files stay files.
  build: {
    // The browsers that the README promises. Syntax and styles are transformed for them; functions of
    // the platform are not polyfilled, so use none that is newer.
    target: ["chrome111", "edge111", "firefox121", "safari16.4"],
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    // `compress.ts` limits the compressed size instead.
    chunkSizeWarningLimit: 600,
  },
  resolve: {
    alias: { "@nats-io/nkeys": fileURLToPath(new URL("src/net/no-nkeys.ts", import.meta.url)) },
  },
  server: stack ? through(stack) : {},
  test: {
    include: ["src/**/*.test.{ts,tsx}"],
    // A test that needs a document says so in its first line: creating one takes longer than most tests.
    environment: "node",
    pool: "threads",
    // A guard against hanging, for busy machines.
    testTimeout: 120_000,
  },
});
