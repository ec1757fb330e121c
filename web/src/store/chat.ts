import type { Me } from "../model/me";
import { type Address, type Place, type Position, readAddress, writeAddress } from "../model/place";
import { type Config, loadConfig } from "../net/config";
import type { Connection } from "../net/connection";
import { type NoConnection, sentence } from "../net/failure";
import { Link, pause } from "../net/link";
import { loadTracing } from "../net/trace/load";
import { type Tracing, UNTRACED } from "../net/trace/tracing";
import { type OutboxStore, openOutboxStore } from "./outbox/outbox-store";
import { Person } from "./person";
import { LocalSignIn } from "./sign-in/local";
import { type Answer, signInAt, takeAnswer } from "./sign-in/provider";
import { connectAs, type SignIn } from "./sign-in/sign-in";
import { Session } from "./storage/session";
import { forPerson, forTab, outlives } from "./storage/storage";
import type {
  ChatActions,
  ChatView,
  LinkView,
  LoginFailure,
  SessionView,
  Spot,
  UnsentView,
} from "./view";

/** Creates the page's only store, which starts to load at once. */
export function createChat(): ChatActions {
  const chat = new Chat();
  void chat.start();
  return chat;
}

/** Connects the parts: the login, the connection, and the person's rooms. */
class Chat implements ChatActions {
  private config: Config | null = null;
  private store: OutboxStore | null = null;
  private tracing: Tracing = UNTRACED;
  private readonly stored = new Session(forTab);
  private session: SessionView = { state: "starting" };
  private signIn: SignIn | null = null;
  private link: Link | null = null;
  private person: Person | null = null;
  private address: Address | "invalid" | null = null;
  private view: ChatView | null = null;
  private isTold = true;
  private woken = 0;
  private readonly listeners = new Set<() => void>();

  async start() {
    const answer = takeAnswer(this.stored);
    window.addEventListener("storage", (event) => this.person?.heard(event));
    window.addEventListener("online", () => this.wake());
    window.addEventListener("offline", () => this.wake());
    window.addEventListener("focus", () => this.wake());
    window.addEventListener("pageshow", ({ persisted }) => {
      // Back from a provider's page without having signed in.
      if (persisted && this.session.state !== "logged-in") this.ended(null);
    });
    // A browser may freeze a hidden page, and resume it later.
    document.addEventListener("resume", () => this.wake());
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") this.wake();
    });
    this.store = await openOutboxStore();
    setInterval(() => this.person?.check("open"), CHECK_MS);
    const config = await this.configured();
    this.tracing = await loadTracing(config);
    this.config = config;
    this.resume(answer);
  }

  /** Loads the configuration, again and again until it succeeds. */
  private async configured(): Promise<Config> {
    for (let failures = 0; ; failures += 1) {
      try {
        return await loadConfig();
      } catch (error) {
        this.ended({ kind: "misconfigured", said: `${sentence(error)}. The page tries again.` });
        await new Promise((resolve) => setTimeout(resolve, pause(failures)));
      }
    }
  }

  subscribe = (listener: () => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  getSnapshot = (): ChatView => {
    this.view ??= this.show();
    return this.view;
  };

  logIn(user: string, password: string) {
    if (this.session.state !== "logged-out" || !this.config) return;
    // User names are lower case, but a phone capitalizes the first letter.
    const uid = user.trim().toLowerCase();
    this.session = { state: "logging-in", way: "local", problem: null };
    this.begin(new LocalSignIn({ kind: "password", uid, password }, this.stored), false);
  }

  logInAtProvider() {
    const provider = this.config?.login.oidc;
    if (this.session.state !== "logged-out" || !provider) return;
    this.session = { state: "logging-in", way: "provider", problem: null };
    this.begin(signInAt(provider, this.stored, true), true);
  }

  logOut() {
    const signIn = this.session.state === "logged-in" ? this.signIn : null;
    this.stored.forget();
    this.ended(null);
    if (signIn) void this.end(signIn);
  }

  reconnectNow() {
    this.link?.wake();
  }

  openAddress(hash: string) {
    this.address = readAddress(hash);
    // The browser keeps the state with each entry of its history: an entry that has it was opened
    // before.
    const isReturn = history.state === OPENED;
    history.replaceState(OPENED, "");
    this.openIt(isReturn);
  }

  openRoom(place: Place, at?: Position) {
    const hash = writeAddress(place, at ?? null);
    // A new address fires `hashchange`; the same one again does not.
    if (location.hash === hash) this.openAddress(hash);
    else location.hash = hash;
  }

  leaveAt(place: Place, spot: Spot | null) {
    this.person?.leaveAt(place, spot);
  }

  leaveRoom(place: Place) {
    this.person?.leaveRoom(place);
  }

  loadOlder() {
    this.person?.loadOlder();
  }

  retryHistory() {
    this.person?.retryHistory();
  }

  markRead(place: Place) {
    this.person?.markRead(place);
  }

  setAtEnd(place: Place, isAtEnd: boolean) {
    this.person?.setAtEnd(place, isAtEnd);
  }

  send(place: Place, text: string): boolean {
    return this.person?.send(place, text) ?? false;
  }

  retry(id: string) {
    this.person?.retry(id);
  }

  discard(id: string) {
    this.person?.discard(id);
  }

  draft(place: Place): string {
    return this.person?.draft(place) ?? "";
  }

  setDraft(place: Place, text: string) {
    this.person?.setDraft(place, text);
  }

  private begin(signIn: SignIn, isPatient: boolean) {
    const url = this.config?.websocket ?? "";
    this.signIn = signIn;
    const events = {
      up: (connection: Connection) => this.up(connection),
      down: () => this.person?.down(),
      refused: (why: NoConnection) => this.refused(why),
      changed: () => this.linkChanged(),
    };
    this.link = new Link(() => connectAs(signIn, url), events, isPatient);
    this.link.start();
    this.changed();
  }

  private async end(signIn: SignIn) {
    // No form: logging in now would race with the provider's logging out.
    this.session = { state: "starting" };
    try {
      await signIn.end();
      this.ended(null);
    } catch {
      const said =
        "You are logged out here, but perhaps not at the sign-in service, which does not answer.";
      this.ended({ kind: "refused", said });
    }
  }

  /** After a reload, or after a provider has sent the browser back. */
  private resume(answer: Answer | null) {
    const remembered = this.stored.remembered();
    const provider = this.config?.login.oidc;
    if (remembered?.token) {
      // Shows the person's page at once, even if no server answers.
      const { me, token } = remembered;
      this.enter(me);
      this.begin(new LocalSignIn({ kind: "token", uid: me.uid, ...token }, this.stored), true);
    } else if (provider && (answer || remembered)) {
      this.begin(signInAt(provider, this.stored, false, answer), true);
    } else {
      this.ended(null);
    }
  }

  private linkChanged() {
    // No need to wait for the provider any longer: the person's page is there without it.
    const isAway = this.session.state === "starting" && this.link?.status.state === "offline";
    const remembered = isAway && this.stored.remembered();
    if (remembered) this.enter(remembered.me);
    else if (isAway) this.session = { state: "logging-in", way: "provider", problem: null };
    this.changed();
  }

  private up(connection: Connection) {
    this.signIn?.up(connection);
    this.enter(connection.me)?.up(connection);
    this.changed();
  }

  private enter(me: Me): Person | null {
    this.session = { state: "logged-in", me };
    // The provider's session may be somebody else's than whom the page was shown for.
    if (this.person && this.person.uid !== me.uid) {
      this.person.stop();
      this.person = null;
    }
    if (!this.person && this.store) {
      this.person = new Person(me, this.store, this.tracing, () => this.changed());
      this.openIt();
    }
    return this.person;
  }

  private refused(why: NoConnection) {
    // The login page says why they were logged out.
    if (why.kind === "wrong-password" || why.kind === "session-ended") this.stored.forget();
    this.ended({ kind: why.kind, said: why.message });
  }

  private ended(failure: LoginFailure | null) {
    this.link?.stop();
    this.signIn?.stop();
    this.person?.stop();
    this.link = null;
    this.signIn = null;
    this.person = null;
    this.session = { state: "logged-out", failure };
    this.changed();
  }

  private openIt(isReturn = false) {
    if (!this.person) return;
    if (!this.address) {
      const place = this.person.home();
      history.replaceState(OPENED, "", writeAddress(place));
      this.address = { place, at: null };
    }
    this.person.openAddress(this.address, isReturn);
  }

  /** The network changed, or the person came back: check now instead of at the next timer. */
  private wake() {
    this.link?.wake();
    if (Date.now() - this.woken < WAKE_MS) return;
    this.woken = Date.now();
    this.person?.check("all");
  }

  private show(): ChatView {
    let link: LinkView = this.link?.status ?? { state: "connecting" };
    if (link.state === "online" && this.person?.isSlow) link = { state: "slow" };
    const nothing = { rooms: [], room: null, unsent: NOTHING_UNSENT };
    const shown = this.person?.view(link.state === "offline") ?? nothing;
    const isKept = outlives(forPerson) && this.store?.outlives !== false;
    const ways = {
      local: this.config?.login.local ?? true,
      provider: this.config?.login.oidc?.name,
    };
    return { session: this.shownSession(), ways, link, outlives: isKept, ...shown };
  }

  private shownSession(): SessionView {
    const status = this.link?.status;
    if (this.session.state !== "logging-in" || status?.state !== "offline") return this.session;
    return { ...this.session, problem: status.why?.message ?? null };
  }

  /** Notifies the listeners once for many changes. */
  private changed() {
    this.view = null;
    if (!this.isTold) return;
    this.isTold = false;
    queueMicrotask(() => {
      this.isTold = true;
      for (const listener of this.listeners) listener();
    });
  }
}

/** The state of an entry of the browser's history that was opened. */
const OPENED = "opened";

/** How often the head of the open room is checked. */
const CHECK_MS = 30_000;

/** How often all rooms are checked at most: some people switch windows every second. */
const WAKE_MS = 5_000;

const NOTHING_UNSENT: UnsentView = { queued: 0, failed: 0, elsewhere: null };
