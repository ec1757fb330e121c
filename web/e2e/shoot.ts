import { writeFileSync } from "node:fs";
import type { Page } from "@playwright/test";

/** Takes a picture, as WebP, half as large as PNG, which Playwright cannot write. */
export async function shoot(page: Page, path: string): Promise<void> {
  await page.evaluate(() => document.fonts.ready.then(() => {}));
  const session = await page.context().newCDPSession(page);
  const { data } = await session.send("Page.captureScreenshot", { format: "webp", quality: 88 });
  writeFileSync(path, Buffer.from(data, "base64"));
}
