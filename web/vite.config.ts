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
    // The browsers that the README promises: syntax and styles are made for them. Functions are not,
    // so that none may be newer than these.
    target: ["chrome111", "edge111", "firefox121", "safari16.4"],
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    // What counts is the weight that is sent, which `compress.ts` bounds.
    chunkSizeWarningLimit: 600,
  },
  resolve: {
    alias: { "@nats-io/nkeys": fileURLToPath(new URL("src/net/no-nkeys.ts", import.meta.url)) },
  },
  server: stack ? through(stack) : {},
  test: {
    include: ["src/**/*.test.{ts,tsx}"],
    // What needs a document says so in its first line: making one takes longer than most tests.
    environment: "node",
    pool: "threads",
    // A guard, for machines that are busy with other things.
    testTimeout: 120_000,
  },
});
