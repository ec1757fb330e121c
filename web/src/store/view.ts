import type { Me } from "../model/me";
import type { Delivery, Entry } from "../model/message";
import type { Place, Position } from "../model/place";
import type { NoConnection } from "../net/failure";
import type { LinkStatus } from "../net/link";

/** Everything that the components show. Each change makes a new object and reuses equal parts. */
export interface ChatView {
  readonly session: SessionView;
  readonly ways: LoginWays;
  readonly link: LinkView;
  /** The navigation, in order: the rooms of everybody, visited ones, admin rooms. */
  readonly rooms: readonly RoomEntry[];
  /** The open room. Null before the first one is opened, and while nobody is logged in. */
  readonly room: RoomView | null;
  readonly unsent: UnsentView;
  /** Whether drafts and unsent messages survive a reload. False if the browser blocks site data. */
  readonly outlives: boolean;
}

/** This person's unsent messages, in all rooms. */
export interface UnsentView {
  readonly queued: number;
  readonly failed: number;
  /**
   * A problem in a room that is not open: the message that blocks those after it, or else one that
   * was refused. Null if there is none.
   */
  readonly elsewhere: { readonly place: Place; readonly delivery: Delivery } | null;
}

export type SessionView =
  /** Loading the configuration and the remembered login, or logging out: show no login form yet. */
  | { readonly state: "starting" }
  /** `failure`: why the last login or session ended; null if nothing failed. */
  | { readonly state: "logged-out"; readonly failure: LoginFailure | null }
  /** `problem`: why the last attempt failed, if the page tries again. */
  | { readonly state: "logging-in"; readonly way: LoginWay; readonly problem: string | null }
  | { readonly state: "logged-in"; readonly me: Me };

/** With a user name and a password, or at a provider. */
export type LoginWay = "local" | "provider";

/** How people may log in. */
export interface LoginWays {
  /** With a user name and a password. */
  readonly local: boolean;
  /** The name of the provider where they may sign in. */
  readonly provider: string | undefined;
}

export interface LoginFailure {
  /**
   * `wrong-password`: the server refused name or password. `session-ended`: log in again. `away`: no server answered. `refused`: a
   * server answered but refused the connection (the page's origin, limits). `misconfigured`: the
   * page does not know its server's address.
   */
  readonly kind: NoConnection["kind"] | "misconfigured";
  /** For the person: cause and cure. */
  readonly said: string;
}

/** The connection. `slow`: connected, but an acknowledgement is overdue. */
export type LinkView = LinkStatus | { readonly state: "slow" };

export interface RoomEntry {
  readonly place: Place;
  /** Unread messages by others. */
  readonly unread: number;
  /** There are more than `unread`: show `50+`. */
  readonly unreadMore: boolean;
  readonly isOpen: boolean;
  readonly hasDraft: boolean;
  /** Unsent messages of this room that are sent automatically. */
  readonly queued: number;
  /** Unsent messages of this room that wait for Retry or Discard. */
  readonly failed: number;
  /** `leaveRoom` may remove it: it is a visited room without a draft or unsent messages. */
  readonly canLeave: boolean;
}

export interface RoomView {
  readonly place: Place;
  /**
   * `loading`: no messages yet, or not back to the first unread one. `ready`: `entries` is the
   * room; empty means "No messages yet". `failed`: history could not be read, `problem` says why;
   * `entries` holds live messages. `forbidden`: this person may not read here. `invalid`: not a
   * room's name.
   */
  readonly phase: "loading" | "ready" | "failed" | "forbidden" | "invalid";
  /** Oldest first, then this person's unsent messages. */
  readonly entries: readonly Entry[];
  /** Whether older messages exist: `loadOlder()` when the reader comes near the top. */
  readonly older: OlderView;
  /** Messages are, or may be, missing between the loaded and the live ones. */
  readonly gap: GapView | null;
  /** Why history could not be read; null if it was. `retryHistory()` asks again. */
  readonly problem: string | null;
  /** The key of the first unread entry, for the "New messages" divider; null for none. */
  readonly dividerBefore: string | null;
  readonly unread: number;
  /** The message of a permalink: scroll there and mark it, once per `token`. */
  readonly target: Target | null;
  /** Where its reader was when they left it: the room opens there. Null for the end. */
  readonly spot: Spot | null;
  readonly mayWrite: boolean;
}

/** A scroll position: a message, and how many pixels below the top of the view it begins. */
export interface Spot {
  readonly key: string;
  readonly top: number;
  /** How far back the room has to be loaded for it: its row may have been dropped. */
  readonly at: Position | null;
}

export type OlderView =
  /** History was not read yet; `problem` says why, unless it is still loading. */
  | { readonly state: "unknown" }
  /** Not known, and will not be before the connection is back. */
  | { readonly state: "away" }
  | { readonly state: "none" }
  | { readonly state: "some" }
  | { readonly state: "loading" }
  | { readonly state: "failed"; readonly problem: string };

export interface GapView {
  /** The key of the first entry after the gap; null if there is none yet. */
  readonly before: string | null;
  readonly state: "loading" | "failed";
}

export type Target =
  | { readonly state: "loading"; readonly at: Position; readonly token: number }
  | { readonly state: "found"; readonly key: string; readonly token: number }
  /** The message does not exist, or is too far back. */
  | { readonly state: "missing"; readonly said: string; readonly token: number };

/** What components may do. None of these throws; errors show in the view. */
export interface ChatActions {
  /** For `useSyncExternalStore`. Both are bound methods. */
  subscribe(listener: () => void): () => void;
  getSnapshot(): ChatView;

  logIn(user: string, password: string): void;
  /** The browser leaves the page, and comes back logged in. */
  logInAtProvider(): void;
  /** Also ends a log-in that is being tried. */
  logOut(): void;
  /** Tries to connect now instead of at `link.retryAt`. */
  reconnectNow(): void;

  /** Opens the address in `location.hash`; call on `hashchange` and at the start. */
  openAddress(hash: string): void;
  openRoom(place: Place, at?: Position): void;
  /** The reader leaves a room at `spot`; null at its end. */
  leaveAt(place: Place, spot: Spot | null): void;
  /** Removes a visited room from the navigation. */
  leaveRoom(place: Place): void;

  loadOlder(): void;
  /** After history failed, for the room, older pages or a gap. */
  retryHistory(): void;
  /**
   * The reader sees the newest message of the room: at the bottom, the page visible and focused.
   * Names the shown room, since another one may be open but not rendered yet.
   */
  markRead(place: Place): void;

  /**
   * Whether the reader is at the newest message of the room. If so rows far above may be dropped;
   * if not new messages need not be added yet.
   */
  setAtEnd(place: Place, isAtEnd: boolean): void;

  /** Sends into the room. False if the text cannot be sent; the draft is kept then. */
  send(place: Place, text: string): boolean;
  retry(id: string): void;
  discard(id: string): void;

  /** Drafts are kept per person and room. Cheap enough for every keystroke. */
  draft(place: Place): string;
  setDraft(place: Place, text: string): void;
}
