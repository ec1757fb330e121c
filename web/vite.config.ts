import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

// `cargo xtask dev --watch` sets it: the page's own server answers /config.json and /health
// while Vite serves the sources.
const page = process.env["CHAT_PAGE"];

export default defineConfig({
  plugins: [react()],
  // The page's Content-Security-Policy refuses inline scripts and data: URLs of anything but
  // images, so small files stay files.
  build: { target: "es2023", assetsInlineLimit: 0, modulePreload: { polyfill: false } },
  server: page ? { proxy: { "/config.json": page, "/health": page } } : {},
  test: { environment: "happy-dom", include: ["src/**/*.test.{ts,tsx}"] },
});
