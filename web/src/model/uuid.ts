let last = 0;
let count = 0;

/**
 * A UUIDv7. The ids of one page ascend strictly, even within a millisecond and when the clock is
 * set back: the outbox sends in their order.
 */
export function uuidv7(now = Date.now()): string {
  if (now > last) {
    last = now;
    count = 0;
  } else if (++count > 0xfff) {
    last += 1;
    count = 0;
  }
  const time = last.toString(16).padStart(12, "0");
  // Not `randomUUID`, which only secure origins have.
  const random = crypto.getRandomValues(new Uint8Array(8));
  random[0] = ((random[0] ?? 0) & 0x3f) | 0x80;
  const tail = Array.from(random, (byte) => byte.toString(16).padStart(2, "0")).join("");
  const counted = `7${count.toString(16).padStart(3, "0")}`;
  return `${time.slice(0, 8)}-${time.slice(8)}-${counted}-${tail.slice(0, 4)}-${tail.slice(4)}`;
}
