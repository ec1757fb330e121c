import type { Browser } from "@playwright/test";

/**
 * Stops a browser with all its processes, like closing a laptop, until the returned function is
 * called. The clock goes on meanwhile.
 */
export async function fallAsleep(browser: Browser): Promise<() => void> {
  const session = await browser.newBrowserCDPSession();
  const { processInfo } = await session.send("SystemInfo.getProcessInfo");
  await session.detach();
  const signal = (name: NodeJS.Signals) => {
    for (const { id } of processInfo) process.kill(id, name);
  };
  signal("SIGSTOP");
  return () => signal("SIGCONT");
}
