import { Arrival } from "./arrival";
import type { Connection } from "./connection";
import { Divider } from "./divider";
import { Drafts } from "./drafts";
import type { RoomDriver } from "./driver";
import { Jump } from "./jump";
import { Keep } from "./keep";
import type { Store } from "./outbox-store";
import { Own } from "./own";
import { Patience } from "./patience";
import { type Address, older, type Place, samePlace } from "./place";
import { firstAfter, type LastRead, Reading, unread } from "./reading";
import { show } from "./room-view";
import { Rooms } from "./rooms";
import { Spots } from "./spots";
import { forPerson } from "./storage";
import type { Tracing } from "./telemetry";
import { toText } from "./text";
import type { ChatView, Me, RoomEntry, RoomView, Spot } from "./view";

/** Everything that one logged-in person has in this tab: rooms, what is unread, drafts, outbox. */
export class Person {
  private readonly kept;
  private readonly rooms: Rooms;
  private readonly reading: Reading;
  private readonly own: Own;
  private readonly drafts: Drafts;
  private readonly patience: Patience;
  private open: Place | "invalid" | null = null;
  private jump: Jump | null = null;
  private jumps = 0;
  private divider: Divider;
  private readonly spots = new Spots();
  /** Where the open room opens, if not at its end or at what is new. */
  private spot: Spot | null = null;
  /** Null where a permalink says where a room opens. */
  private arrival: Arrival | null = null;

  constructor(
    private me: Me,
    store: Store,
    private readonly tracing: Tracing,
    private readonly changed: () => void,
  ) {
    const { uid } = me;
    this.kept = {
      read: new Keep<LastRead>(forPerson, "read", uid, {}),
      rooms: new Keep<readonly Place[]>(forPerson, "rooms", uid, []),
      drafts: new Keep<Readonly<Record<string, string>>>(forPerson, "drafts", uid, {}),
      last: new Keep<{ readonly place?: Place }>(forPerson, "last", uid, {}),
    };
    this.reading = new Reading(this.kept.read);
    this.drafts = new Drafts(this.kept.drafts);
    this.divider = new Divider(changed);
    this.patience = new Patience(changed);
    this.rooms = new Rooms(this.kept.rooms, (driver) => ({
      changed: () => this.roomChanged(driver()),
      ask: (connection, place, question) => {
        const enters = question.type === "last" && driver().room.upto === null;
        return this.tracing.history(place, enters, (context) =>
          connection.history(place, question, context),
        );
      },
      heard: (place, _, traceparent) => this.tracing.live(place, traceparent),
    }));
    this.own = new Own(
      () => this.me,
      store,
      this.rooms,
      () => this.list(),
      ({ place, text }) => this.drafts.sent(place, text) && this.list(),
    );
    this.list();
  }

  up(connection: Connection) {
    this.me = connection.me;
    this.list();
    this.rooms.up(connection);
    this.own.outbox.online(({ id, place, text, created }) =>
      this.patience.wait(
        // Named as the log names it: two people may have the same id.
        this.tracing.send(place, `${connection.me.uid}:${id}`, created, (context) =>
          connection.send(place, { id, text }, context),
        ),
        // A link that hangs is found so before the next ping would find it.
        () => connection.probe(),
      ),
    );
  }

  /** A message waits for its acknowledgement for longer than it should. */
  get isSlow(): boolean {
    return this.patience.isTried;
  }

  down() {
    this.own.outbox.offline();
    this.rooms.down();
  }

  stop() {
    this.own.outbox.close();
    this.rooms.stop();
    this.divider.stop();
  }

  /** Looks once whether the end of a room was missed: no chain shows a lost last message. */
  check(which: "open" | "all") {
    for (const driver of this.rooms.all()) {
      const isMeant = which === "all" || driver === this.openDriver();
      if (!isMeant || !driver.room.joined) continue;
      driver.dispatch({ type: driver.room.problem === null ? "check" : "retry" });
    }
  }

  /** Where one is when the address says nothing. */
  home(): Place {
    return this.kept.last.get().place ?? { realm: "chat", room: "general" };
  }

  /** `isReturn`: by the browser's history, so a permalink leads to where one went from there. */
  openAddress(address: Address | "invalid", isReturn: boolean) {
    const place = address === "invalid" ? null : address.place;
    const isSame = this.openPlace() !== null && samePlace(place, this.openPlace());
    const left = place && this.spots.of(place);
    const isBack = isReturn && !isSame && left !== null;
    const at = address === "invalid" || isBack ? null : address.at;
    this.jumps += 1;
    this.jump = at && new Jump(at, this.jumps);
    if (!isSame) this.openDriver()?.dispatch({ type: "held", isHeld: false });
    this.open = place ?? "invalid";
    if (!isSame) {
      this.divider.stop();
      this.divider = new Divider(this.changed);
      this.arrival = at ? null : new Arrival();
      this.spot = at ? null : left;
      this.list();
    }
    const driver = this.openDriver();
    if (driver) this.roomChanged(driver);
    this.changed();
  }

  leaveAt(place: Place, spot: Spot | null) {
    this.spots.leave(place, spot);
  }

  leaveRoom(place: Place) {
    this.rooms.forget(place);
    this.spots.forget(place);
    if (samePlace(place, this.openPlace())) this.open = null;
    this.list();
  }

  loadOlder() {
    this.openDriver()?.loadOlder();
  }

  retryHistory() {
    this.openDriver()?.dispatch({ type: "retry" });
  }

  stands(place: Place, isAtEnd: boolean) {
    const driver = this.openDriver();
    if (!driver || !samePlace(place, driver.place)) return;
    const count = driver.room.rows.length;
    if (!isAtEnd) {
      if (count > MOST_OPEN) driver.dispatch({ type: "held", isHeld: true });
      return;
    }
    driver.dispatch({ type: "held", isHeld: false });
    // A link that is followed leads to what would be let go.
    if (count <= 2 * KEPT_OPEN || this.jump?.target.state === "loading") return;
    driver.dispatch({ type: "trimmed", keep: KEPT_OPEN });
  }

  markRead(place: Place) {
    const driver = this.openDriver();
    if (!driver?.room.upto || !samePlace(place, driver.place)) return;
    if (!this.reading.mark(place, driver.room)) return;
    this.lookAround(driver);
    this.changed();
  }

  send(place: Place, text: string): boolean {
    const clean = toText(text);
    if (clean === null || !this.mayWrite(place)) return false;
    if (samePlace(place, this.openPlace())) this.divider.remove();
    // Also before its history comes: it stays listed once the message is sent.
    this.rooms.visit(place);
    this.own.outbox.add(place, clean);
    return true;
  }

  retry(id: string) {
    this.own.outbox.retry(id);
  }

  discard(id: string) {
    this.own.outbox.discard(id);
  }

  draft(place: Place): string {
    return this.drafts.of(place);
  }

  setDraft(place: Place, text: string) {
    if (this.drafts.set(place, text)) this.list();
  }

  /** Takes over what another tab of this person has read, visited or drafted. */
  heard(event: StorageEvent) {
    const { read, rooms, drafts } = this.kept;
    if (rooms.heard(event) || drafts.heard(event)) this.list();
    else if (read.heard(event)) this.changed();
  }

  view(isOffline: boolean): Pick<ChatView, "rooms" | "room" | "unsent"> {
    return {
      rooms: this.places().map((place) => this.entry(place)),
      room: this.open === "invalid" ? INVALID : this.roomView(isOffline),
      unsent: this.own.view(this.openPlace()),
    };
  }

  private entry(place: Place): RoomEntry {
    const driver = this.rooms.find(place);
    const { queued, failed } = this.own.count(place);
    const hasDraft = this.drafts.has(place);
    const { count, more } = driver ? this.unread(driver) : { count: 0, more: false };
    return {
      place,
      unread: count,
      unreadMore: more,
      isOpen: samePlace(place, this.openPlace()),
      canLeave: this.rooms.canLeave(place) && queued + failed === 0 && !hasDraft,
      hasDraft,
      queued,
      failed,
    };
  }

  private roomView(isOffline: boolean): RoomView | null {
    const driver = this.openDriver();
    if (!driver) return null;
    const { after } = this.divider;
    const first = after && firstAfter(driver.room.rows, after, this.me.uid);
    const shown = show(driver, isOffline);
    const isArriving = shown.phase === "ready" && this.arrival?.isDone === false;
    return {
      place: driver.place,
      ...shown,
      // Rows that will not be in view in the end are not shown for a moment.
      ...(isArriving && { phase: "loading", entries: [] }),
      dividerBefore: first?.key ?? null,
      unread: this.unread(driver).count,
      target: this.jump?.target ?? null,
      spot: this.spot,
      mayWrite: this.mayWrite(driver.place) && !driver.room.forbidden,
    };
  }

  private roomChanged(driver: RoomDriver) {
    const { place, room } = driver;
    const isOpen = driver === this.openDriver();
    if (room.upto) {
      // Nobody has "unread" messages from before they first came.
      if (!this.reading.lastRead(place)) this.reading.mark(place, room);
      this.lookAround(driver);
      if (isOpen && !room.forbidden) this.entered(place);
      if (!isOpen && room.rows.length > 2 * KEPT) driver.dispatch({ type: "trimmed", keep: KEPT });
    }
    if (isOpen) this.arrival?.follow(driver, older(this.spot?.at ?? null, this.divider.after));
    if (isOpen) this.jump?.follow(driver);
    this.own.settle(driver);
    this.changed();
  }

  private lookAround(driver: RoomDriver) {
    if (driver !== this.openDriver()) return;
    const lastRead = () => this.reading.lastRead(driver.place);
    this.divider.look(this.unread(driver).count, lastRead);
  }

  private entered(place: Place) {
    if (samePlace(this.kept.last.get().place ?? null, place)) return;
    this.kept.last.change(() => ({ place }));
    this.rooms.visit(place);
  }

  /** Keeps drivers for what is listed. */
  private list() {
    this.rooms.keep(this.places());
    this.own.show();
    this.changed();
  }

  /** What is listed: also where something waits that this person wrote. */
  private places(): readonly Place[] {
    const held = [...this.own.places(), ...this.drafts.places()];
    return this.rooms.list(this.openPlace(), this.me.isAdmin, held);
  }

  private unread({ place, room }: RoomDriver) {
    const { count, more } = unread(room, this.reading.lastRead(place), this.me.uid);
    return { count, more: more || (room.isHeld && room.doubt) };
  }

  private mayWrite({ realm }: Place): boolean {
    return realm === "admin" ? this.me.isAdmin : this.me.mayWrite;
  }

  private openPlace(): Place | null {
    return this.open === "invalid" ? null : this.open;
  }

  private openDriver(): RoomDriver | undefined {
    const place = this.openPlace();
    return place ? this.rooms.find(place) : undefined;
  }
}

/** Rows that a room keeps while another one is open. */
const KEPT = 200;

/** Rows that the open room keeps at least while its reader is at the end; twice as many at most. */
const KEPT_OPEN = 500;

/** From so many rows on the open room takes in nothing at its end while its reader is further up. */
const MOST_OPEN = 3_000;

const INVALID: RoomView = {
  place: { realm: "chat", room: "" },
  phase: "invalid",
  entries: [],
  older: { state: "unknown" },
  gap: null,
  problem: null,
  dividerBefore: null,
  unread: 0,
  target: null,
  spot: null,
  mayWrite: false,
};
