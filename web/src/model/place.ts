/** Who may read a room: everybody, or admins only. */
export type Realm = "chat" | "admin";

/** A room of a realm. */
export interface Place {
  readonly realm: Realm;
  readonly room: string;
}

/** The position of a message: an epoch of the log, and the sequence in it. */
export interface Position {
  readonly epoch: number;
  readonly seq: number;
}

/** An address of the page: a room, and for a permalink a message of it. */
export interface Address {
  readonly place: Place;
  readonly at: Position | null;
}

/** The service's rule: one plain subject token, so that no name can change a subject. */
const TOKEN = /^[A-Za-z0-9_-]{1,64}$/;

const ADDRESS = /^#\/(chat|admin)\/([^/]*)(?:\/([^/]*))?$/;

/** Shown for a name that `isToken` refuses. */
export const ROOM_NAME_RULE = "A room's name is 1 to 64 of the characters A-Z, a-z, 0-9, _ and -.";

export function isToken(name: string): boolean {
  return TOKEN.test(name);
}

/** The key of a place in maps: `chat/general`. */
export function placeKey(place: Place): string {
  return `${place.realm}/${place.room}`;
}

export function samePlace(a: Place | null, b: Place | null): boolean {
  return a === b || (a !== null && b !== null && a.realm === b.realm && a.room === b.room);
}

/**
 * Reads `location.hash`: `#/chat/general` or, with a message, `#/chat/general/1.42`. Null if it is
 * empty; "invalid" if it names no possible room.
 */
export function readAddress(hash: string): Address | "invalid" | null {
  const found = ADDRESS.exec(hash);
  if (!found) return hash === "" || hash === "#" || hash === "#/" ? null : "invalid";
  const [, realm, raw = "", at] = found;
  const room = decoded(raw);
  const position = at === undefined || at === "" ? null : readPosition(at);
  if (room === null || !isToken(room) || position === undefined) return "invalid";
  return { place: { realm: realm === "admin" ? "admin" : "chat", room }, at: position };
}

/** Writes a `location.hash`, for links. */
export function writeAddress(place: Place, at: Position | null = null): string {
  const message = at ? `/${at.epoch}.${at.seq}` : "";
  return `#/${place.realm}/${place.room}${message}`;
}

/** Reads `<epoch>.<seq>`, the form of positions in permalinks and in answers of history. */
export function readPosition(text: string): Position | undefined {
  const found = /^(\d{1,15})\.(\d{1,15})$/.exec(text);
  return found ? { epoch: Number(found[1]), seq: Number(found[2]) } : undefined;
}

/** Less than zero if `a` is older. */
export function comparePositions(a: Position, b: Position): number {
  return a.epoch - b.epoch || a.seq - b.seq;
}

/** The older of two positions, or the only one. */
export function older(a: Position | null, b: Position | null): Position | null {
  if (!a || !b) return a ?? b;
  return comparePositions(a, b) < 0 ? a : b;
}

function decoded(raw: string): string | null {
  try {
    return decodeURIComponent(raw);
  } catch {
    return null;
  }
}
