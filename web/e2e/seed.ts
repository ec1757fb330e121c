import type { Stack } from "./stack";

/** How many publishes may be unacknowledged at once. */
const AT_ONCE = 200;

/** Far longer than a disk needs: only a hang reaches it. */
const GUARD_MS = 60_000;

/** Fills a room as a trusted back end does: `count` messages, each acknowledged, a minute apart. */
export async function seed(stack: Stack, room: string, count: number): Promise<void> {
  const backend = await stack.connect("backend");
  const start = Date.now() - count * 60_000;
  for (let first = 0; first < count; first += AT_ONCE) {
    const some = Array.from(
      { length: Math.min(AT_ONCE, count - first) },
      (_, index) => first + index,
    );
    await Promise.all(
      some.map((index) => {
        const message = {
          user: ["Ada", "Grace", "Edsger"][Math.floor(index / 3) % 3],
          text: `message ${index + 1}${index % 7 === 0 ? ", with a line\nof its own and some more words".repeat(3) : ""}`,
          timestamp: start + index * 60_000,
        };
        return backend.request(`chat.${room}`, JSON.stringify(message), { timeout: GUARD_MS });
      }),
    );
  }
  await backend.close();
}
