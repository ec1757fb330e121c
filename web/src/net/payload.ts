import { type Live, messageKey, SENT, type Stored } from "../model/message";
import { isToken, type Place } from "../model/place";
import { MAX_TEXT } from "../model/text";

/**
 * Reads a live message from its bytes and the log's headers. The log also holds messages that
 * `persist` does not store (bad JSON, another room's name), and those must not be shown: so this
 * accepts nothing that `persist` refuses. Where it is not certain, as with JSON that is spelled in
 * an unusual way, `message` is null and history decides. Null: without a sequence it is not a
 * message of the log.
 */
export function readLive(
  place: Place,
  bytes: Uint8Array,
  header: (name: string) => string | undefined,
): Live | null {
  const seq = count(header("Nats-Sequence"));
  const prev = count(header("Nats-Last-Sequence"));
  if (!seq || prev === null) return null;
  const message = readPayload(place, bytes, header, seq);
  return { seq, prev, message, stale: message !== null && isStale(message) };
}

/** Reads a page of history. Throws if it is not one. */
export function readPage(payload: string): Stored[] {
  const rows: unknown = JSON.parse(payload);
  if (!Array.isArray(rows)) throw new Error("history answered no list");
  return rows.map((row: Partial<Record<string, unknown>>) => {
    const { id, uid, user, text, timestamp, epoch, seq } = row;
    if (
      typeof id !== "string" ||
      typeof uid !== "string" ||
      typeof user !== "string" ||
      typeof text !== "string" ||
      typeof timestamp !== "number" ||
      typeof epoch !== "number" ||
      typeof seq !== "number"
    ) {
      throw new Error("history answered something that is no message");
    }
    return { ...messageOf(uid, id, user, text, timestamp), at: { epoch, seq } };
  });
}

const DAY_MS = 86_400_000;

/** The log deduplicates ids for two minutes; a later duplicate gets a sequence of its own. */
const STALE_MS = 100_000;

/** An escaped NUL or half of a surrogate pair: the service refuses JSON with it. */
const UNSTORABLE = /\\u(0000|d[89a-f])/;

/** The service refuses JSON that is nested deeper. */
const MAX_DEPTH = 64;

function readPayload(
  place: Place,
  bytes: Uint8Array,
  header: (name: string) => string | undefined,
  seq: number,
): Live["message"] {
  const json = parsed(bytes);
  if (!json) return null;
  const { user, text, timestamp, room, uid, id } = json;
  if (isGiven(room) && room !== place.room) return null;
  if (typeof user !== "string" || typeof text !== "string" || typeof timestamp !== "number") {
    return null;
  }
  const time = nanoseconds(header("Nats-Time-Stamp"));
  if (time === null) return null;
  const length = [...text].length;
  const latest = Number(time / 1_000_000n) + DAY_MS;
  const isTime = Number.isSafeInteger(timestamp) && timestamp >= 0 && timestamp <= latest;
  if (length < 1 || length > MAX_TEXT || !isTime) return null;
  if (typeof uid === "string" && typeof id === "string") {
    const isPerson = uid === "" || isToken(uid);
    return isPerson && isId(id) ? messageOf(uid, id, user, text, timestamp) : null;
  }
  if ([uid, id].some((value) => isGiven(value) && typeof value !== "string")) return null;
  // A replayed dead letter keeps the id that it had first, which history knows.
  if (header("Dead-Letter-Replay-Of") !== undefined) return null;
  const ownId = header("Nats-Msg-Id") ?? `${seq}-${time}`;
  return isId(ownId) ? messageOf("", ownId, user, text, timestamp) : null;
}

/** The object, if serializing it gives the same bytes: no duplicate key, no `1.0`, no BOM. */
function parsed(bytes: Uint8Array): Record<string, unknown> | null {
  try {
    const payload = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    const json: unknown = JSON.parse(payload);
    if (typeof json !== "object" || json === null || Array.isArray(json)) return null;
    if (UNSTORABLE.test(payload) || depth(json) > MAX_DEPTH) return null;
    return JSON.stringify(json) === payload ? (json as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}

/** How deep objects and arrays are nested. */
function depth(json: unknown): number {
  if (typeof json !== "object" || json === null) return 0;
  let deepest = 0;
  for (const value of Object.values(json)) deepest = Math.max(deepest, depth(value));
  return 1 + deepest;
}

function isGiven(value: unknown): boolean {
  return value !== undefined && value !== null;
}

function messageOf(uid: string, id: string, name: string, text: string, timestamp: number) {
  return { key: messageKey(uid, id), id, uid, name, text, timestamp, delivery: SENT };
}

function isId(id: string): boolean {
  return id.length >= 1 && new TextEncoder().encode(id).length <= 256;
}

function count(text: string | undefined): number | null {
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : null;
}

/** Only a UUIDv7 tells: its first 48 bits are its time in ms. */
function isStale({ id, timestamp }: { id: string; timestamp: number }): boolean {
  const found = /^([0-9a-f]{8})-([0-9a-f]{4})-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$/.exec(id);
  return found !== null && timestamp - Number.parseInt(`${found[1]}${found[2]}`, 16) > STALE_MS;
}

/** The log's own time, `2026-11-24T09:00:00.123456789Z`, in ns since 1970. */
function nanoseconds(text: string | undefined): bigint | null {
  const found = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z$/.exec(text ?? "");
  if (!found) return null;
  const ms = Date.parse(`${found[1]}Z`);
  return BigInt(ms) * 1_000_000n + BigInt((found[2] ?? "").padEnd(9, "0"));
}
