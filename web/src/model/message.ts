import type { Position } from "./place";

/** One message as it is shown. The object stays the same while nothing of it changes. */
export interface Entry {
  /** Stays the same when a message of one's own is acknowledged: use it as React key. */
  readonly key: string;
  readonly id: string;
  /** Who wrote it; compare with `me.uid`. Empty for a back end. */
  readonly uid: string;
  /** Hostile text. */
  readonly name: string;
  /** Hostile text. */
  readonly text: string;
  /** ms since 1970; until the service has set it, the time on this device. */
  readonly timestamp: number;
  /** Null until it stands in the log: no permalink yet. */
  readonly at: Position | null;
  readonly delivery: Delivery;
}

export type Delivery =
  /** Waits for its turn. `problem`: what it waits for; `until`: when it is tried again. */
  | { readonly state: "queued"; readonly problem: string | null; readonly until: number | null }
  /** `problem`: what the last try met. */
  | { readonly state: "sending"; readonly problem: string | null }
  | { readonly state: "sent" }
  /** Refused, and not tried again by itself. `retry(id)` or `discard(id)`. */
  | { readonly state: "failed"; readonly reason: string };

/** A message that stands in the log. */
export interface Stored extends Entry {
  readonly at: Position;
}

/** What arrived live. It carries no epoch: it is of the newest one known. */
export interface Live {
  readonly seq: number;
  /** The sequence of the room's message before it; 0 where the log does not know. */
  readonly prev: number;
  /** Null where only history can tell whether it is a message: see `readLive`. */
  readonly message: Omit<Stored, "at"> | null;
  /** Its sender's id is much older than itself: it may repeat a message from further up. */
  readonly stale: boolean;
}

export const SENT: Delivery = { state: "sent" };

/** The identity of a message: its sender's id is unique to the sender only. */
export function messageKey(uid: string, id: string): string {
  return `${uid}/${id}`;
}
