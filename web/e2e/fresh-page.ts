import { existsSync, readFileSync } from "node:fs";
import { extname, join } from "node:path";
import type { BrowserContext } from "@playwright/test";

const TYPES: Record<string, string> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
  ".woff2": "font/woff2",
};

/**
 * For work on the page: if PAGE_DIST names a directory, its files are served instead of those in the
 * program, which then need not be rebuilt for each change. The server's headers stay.
 */
export async function serveFresh(context: BrowserContext, page: string): Promise<void> {
  const directory = process.env["PAGE_DIST"];
  if (!directory) return;
  const { headers } = await fetch(page);
  const policy = headers.get("content-security-policy") ?? "";
  const { port } = new URL(page);
  await context.route(
    ({ port: asked }) => asked === port,
    async (route) => {
      const { pathname } = new URL(route.request().url());
      const file = join(directory, pathname === "/" ? "index.html" : pathname);
      if (!existsSync(file)) return route.fallback();
      const contentType = TYPES[extname(file)] ?? "application/octet-stream";
      return route.fulfill({
        body: readFileSync(file),
        contentType,
        headers: { "content-security-policy": policy },
      });
    },
  );
}
