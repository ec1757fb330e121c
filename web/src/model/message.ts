import type { Position } from "./place";

/** A message as it is shown. The object is the same as long as nothing in it changes. */
export interface Entry {
  /** Stays the same when the person's own message is acknowledged: use it as React key. */
  readonly key: string;
  readonly id: string;
  /** Who wrote it; compare with `me.uid`. Empty for a back end. */
  readonly uid: string;
  /** Hostile text. */
  readonly name: string;
  /** Hostile text. */
  readonly text: string;
  /** ms since 1970; the time of this device until the service has set it. */
  readonly timestamp: number;
  /** Null until the message is in the log: then it has no permalink yet. */
  readonly at: Position | null;
  readonly delivery: Delivery;
}

export type Delivery =
  /** Waits for its turn. `problem`: what it waits for; `until`: when the next attempt is. */
  | { readonly state: "queued"; readonly problem: string | null; readonly until: number | null }
  /** `problem`: why the last try failed. */
  | { readonly state: "sending"; readonly problem: string | null }
  | { readonly state: "sent" }
  /** Refused, and not retried automatically. `retry(id)` or `discard(id)`. */
  | { readonly state: "failed"; readonly reason: string };

/** A message that is in the log. */
export interface Stored extends Entry {
  readonly at: Position;
}

/** A live message. It carries no epoch; it belongs to the newest known one. */
export interface Live {
  readonly seq: number;
  /** The sequence of the room's previous message; 0 if the log does not know it. */
  readonly prev: number;
  /** Null if only history can tell whether it is a valid message: see `readLive`. */
  readonly message: Omit<Stored, "at"> | null;
  /** The sender's id is much older than the message: it may repeat an earlier message. */
  readonly stale: boolean;
}

export const SENT: Delivery = { state: "sent" };

/** The identity of a message: the sender's id is unique only per sender. */
export function messageKey(uid: string, id: string): string {
  return `${uid}/${id}`;
}
