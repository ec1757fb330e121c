import type { Me } from "../model/me";
import type { Delivery, Entry } from "../model/message";
import type { Place, Position } from "../model/place";
import type { LinkStatus } from "../net/link";

/** Everything that the components show. A new object for each change, old parts kept. */
export interface ChatView {
  readonly session: SessionView;
  readonly link: LinkView;
  /** The navigation, in its order: the rooms that everybody has, those visited, admin rooms. */
  readonly rooms: readonly RoomEntry[];
  /** The room that is open. Null before the first one is, and while nobody is logged in. */
  readonly room: RoomView | null;
  readonly unsent: UnsentView;
  /** Drafts and messages that wait outlive the page. False in a browser that lets it keep nothing. */
  readonly outlives: boolean;
}

/** This person's messages that are not accepted yet, in all rooms. */
export interface UnsentView {
  readonly queued: number;
  readonly failed: number;
  /**
   * What is wrong with a message of a room that is not open: the one that those after it wait for,
   * or else one that was refused. Null where nothing is.
   */
  readonly elsewhere: { readonly place: Place; readonly delivery: Delivery } | null;
}

export type SessionView =
  /** Reading the configuration, or what this tab remembers: show nothing that asks. */
  | { readonly state: "starting" }
  /** `failure`: why the last attempt, or the session until now, ended; null where all is well. */
  | { readonly state: "logged-out"; readonly failure: LoginFailure | null }
  | { readonly state: "logging-in"; readonly user: string }
  | { readonly state: "logged-in"; readonly me: Me };

export interface LoginFailure {
  /**
   * `wrong-password`: the server said no to name or password. `away`: no server answered.
   * `refused`: a server answered and took no connection (the page's origin, its limits).
   * `misconfigured`: the page does not know where its server is.
   */
  readonly kind: "wrong-password" | "away" | "refused" | "misconfigured";
  /** A sentence for the person: cause and cure. */
  readonly said: string;
}

/** The connection; `slow`: it stands, and a message waits for its acknowledgement for too long. */
export type LinkView = LinkStatus | { readonly state: "slow" };

export interface RoomEntry {
  readonly place: Place;
  /** Messages by others that are not read. */
  readonly unread: number;
  /** There are more than `unread` says: show `50+`. */
  readonly unreadMore: boolean;
  readonly isOpen: boolean;
  readonly hasDraft: boolean;
  /** Messages of this room that are not accepted yet, and go by themselves. */
  readonly queued: number;
  /** Messages of this room that wait for Retry or Discard. */
  readonly failed: number;
  /** `leaveRoom` takes it away: visited, holds nothing of this person, none that everybody has. */
  readonly canLeave: boolean;
}

export interface RoomView {
  readonly place: Place;
  /**
   * `loading`: nothing is known yet, or not back to the first unread message. `ready`: `entries` is the room; empty means "No messages yet".
   * `failed`: its history could not be read, `problem` says why; `entries` holds what came live.
   * `forbidden`: this person may not read here. `invalid`: no room can have this name.
   */
  readonly phase: "loading" | "ready" | "failed" | "forbidden" | "invalid";
  /** Oldest first; this person's unsent messages are last. */
  readonly entries: readonly Entry[];
  /** Older messages exist: `loadOlder()` when the reader comes near the top. */
  readonly older: OlderView;
  /** Newer messages are missing between what is known and what came live, or may be. */
  readonly gap: GapView | null;
  /** Why history is missing, in a sentence; null where nothing is. `retryHistory()` asks again. */
  readonly problem: string | null;
  /** The key of the first unread entry, for the "New messages" divider; null for none. */
  readonly dividerBefore: string | null;
  readonly unread: number;
  /** The message that a permalink names: scroll there and mark it, once per `token`. */
  readonly target: Target | null;
  /** Where its reader was when they left it: it opens there. Null where that was at the end. */
  readonly spot: Spot | null;
  readonly mayWrite: boolean;
}

/** A place in a list: a message, and how far below the upper edge it begins, in pixels. */
export interface Spot {
  readonly key: string;
  readonly top: number;
  /** How far back the room has to be loaded for it: by then its row may be gone. */
  readonly at: Position | null;
}

export type OlderView =
  /** History was not read yet: `problem` says why, where that is not just a matter of time. */
  | { readonly state: "unknown" }
  /** Nor is it, before the connection is back. */
  | { readonly state: "away" }
  | { readonly state: "none" }
  | { readonly state: "some" }
  | { readonly state: "loading" }
  | { readonly state: "failed"; readonly problem: string };

export interface GapView {
  /** The key of the first entry after the gap; null where nothing came after it yet. */
  readonly before: string | null;
  readonly state: "loading" | "failed";
}

export type Target =
  | { readonly state: "loading"; readonly at: Position; readonly token: number }
  | { readonly state: "found"; readonly key: string; readonly token: number }
  /** There is no such message, or it is too far back to be loaded. */
  | { readonly state: "missing"; readonly said: string; readonly token: number };

/** What components may do. None of them throws; what goes wrong shows in the view. */
export interface ChatActions {
  /** For `useSyncExternalStore`. Both are bound. */
  subscribe(listener: () => void): () => void;
  getSnapshot(): ChatView;

  logIn(user: string, password: string): void;
  logOut(): void;
  /** Tries to connect now instead of at `link.retryAt`. */
  reconnectNow(): void;

  /** Opens what the address bar names (`location.hash`); call on `hashchange` and at the start. */
  openAddress(hash: string): void;
  openRoom(place: Place, at?: Position): void;
  /** The reader leaves a room; null at its end. */
  leaveAt(place: Place, spot: Spot | null): void;
  /** Takes a visited room out of the navigation. The rooms that everybody has stay. */
  leaveRoom(place: Place): void;

  loadOlder(): void;
  /** After a failure: of history, of older pages, of a gap. */
  retryHistory(): void;
  /**
   * The reader sees the newest message of the room: at the bottom, the page visible and focused. The
   * room is named since another may be open already that is not shown yet.
   */
  markRead(place: Place): void;

  /**
   * Whether the reader is at the newest message of the room: then what lies far above may be let go, and
   * else what comes far below need not be taken in yet.
   */
  stands(place: Place, isAtEnd: boolean): void;

  /** Sends into the room. False where the text is nothing to send; its draft is kept then. */
  send(place: Place, text: string): boolean;
  retry(id: string): void;
  discard(id: string): void;

  /** Drafts are kept per person and room. Cheap to call on each key. */
  draft(place: Place): string;
  setDraft(place: Place, text: string): void;
}
