import type { Page } from "@playwright/test";

/**
 * A connection that silently drops single live messages, like a server with a slow consumer, or a
 * server of a cluster that the message did not reach.
 */
export class Loss {
  private readonly wanted = new Map<string, () => void>();

  /** From its next load on, the page connects through this. */
  static async between(page: Page): Promise<Loss> {
    const loss = new Loss();
    await page.routeWebSocket(/./, (near) => {
      const far = near.connectToServer();
      far.onMessage((said) => near.send(typeof said === "string" ? said : loss.pass(said)));
    });
    return loss;
  }

  /** Drops the live message with this text once. Resolves when it is dropped. */
  lose(text: string): Promise<void> {
    return new Promise((done) => this.wanted.set(text, done));
  }

  /** Removes the message from a chunk of the protocol, which may hold several. */
  private pass(said: Buffer): Buffer {
    for (const [text, done] of this.wanted) {
      const [start, end] = liveMessage(said, text);
      if (end === 0) continue;
      this.wanted.delete(text);
      done();
      return this.pass(Buffer.concat([said.subarray(0, start), said.subarray(end)]));
    }
    return said;
  }
}

/** How often the page checks the head of its room, in ms. */
export const LOOKS_MS = 30_000;

/** From its next load on, the page has no check by timer: only events make it check. */
export async function withoutTimer(page: Page): Promise<void> {
  await page.addInitScript((period) => {
    const { setInterval } = window;
    const others = (run: TimerHandler, wait?: number) =>
      wait === period ? 0 : setInterval(run, wait);
    Object.assign(window, { setInterval: others });
  }, LOOKS_MS);
}

/** Finds the live message with this text: `HMSG live.<room> <sid> <header> <total>`, and its bytes. */
function liveMessage(said: Buffer, text: string): [start: number, end: number] {
  const at = said.indexOf(JSON.stringify(text));
  const start = said.lastIndexOf("HMSG live.", at);
  if (at < 0 || start < 0) return [0, 0];
  const line = said.indexOf("\r\n", start);
  const total = Number(said.subarray(start, line).toString().split(" ").at(-1));
  const end = line + 2 + total + 2;
  // The text may also be in an answer of history, after another live message.
  return at < end ? [start, end] : [0, 0];
}
