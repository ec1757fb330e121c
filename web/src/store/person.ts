import type { Me } from "../model/me";
import { type Address, type Place, samePlace } from "../model/place";
import { toText } from "../model/text";
import type { Connection } from "../net/connection";
import type { Tracing } from "../net/trace/tracing";
import type { OutboxStore } from "./outbox/outbox-store";
import { OutboxView } from "./outbox-view";
import type { RoomDriver } from "./room/driver";
import { Jump } from "./room/jump";
import { type LastRead, Reading, unread } from "./room/reading";
import { Rooms } from "./room/rooms";
import { Spots } from "./room/spots";
import { INVALID, Visit } from "./room/visit";
import { SlowAnswers } from "./slow-answers";
import { Drafts } from "./storage/drafts";
import { forPerson } from "./storage/storage";
import { StoredValue } from "./storage/stored-value";
import type { ChatView, RoomEntry, RoomView, Spot } from "./view";

/** The state of one logged-in person in this tab: rooms, unread counts, drafts, outbox. */
export class Person {
  private readonly kept;
  private readonly rooms: Rooms;
  private readonly reading: Reading;
  private readonly own: OutboxView;
  private readonly drafts: Drafts;
  private readonly slowAnswers: SlowAnswers;
  private visit: Visit | null = null;
  private jumps = 0;
  private readonly spots = new Spots();

  constructor(
    private me: Me,
    store: OutboxStore,
    private readonly tracing: Tracing,
    private readonly changed: () => void,
  ) {
    const { uid } = me;
    this.kept = {
      read: new StoredValue<LastRead>(forPerson, "read", uid, {}),
      rooms: new StoredValue<readonly Place[]>(forPerson, "rooms", uid, []),
      drafts: new StoredValue<Readonly<Record<string, string>>>(forPerson, "drafts", uid, {}),
      last: new StoredValue<{ readonly place?: Place }>(forPerson, "last", uid, {}),
    };
    this.reading = new Reading(this.kept.read);
    this.drafts = new Drafts(this.kept.drafts);
    this.slowAnswers = new SlowAnswers(changed);
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
    this.own = new OutboxView(
      () => this.me,
      store,
      this.rooms,
      () => this.list(),
      ({ place, text }) => this.drafts.sent(place, text) && this.list(),
    );
    this.list();
  }

  get uid(): string {
    return this.me.uid;
  }

  up(connection: Connection) {
    this.me = connection.me;
    this.list();
    this.rooms.up(connection);
    this.own.outbox.online(({ id, place, text, created }) =>
      this.slowAnswers.wait(
        // As in the log: ids are unique for their sender only.
        this.tracing.send(place, `${connection.me.uid}:${id}`, created, (context) =>
          connection.send(place, { id, text }, context),
        ),
        // Finds a hanging connection before the next regular ping.
        () => connection.probe(),
      ),
    );
  }

  /** An acknowledgement is overdue. */
  get isSlow(): boolean {
    return this.slowAnswers.isSlow;
  }

  down() {
    this.own.outbox.offline();
    this.rooms.down();
  }

  stop() {
    this.own.outbox.close();
    this.rooms.stop();
    this.visit?.stop();
  }

  /** Checks the head of rooms: the chain does not show a lost last message. */
  check(which: "open" | "all") {
    for (const driver of this.rooms.all()) {
      const isMeant = which === "all" || driver === this.openDriver();
      if (!isMeant || !driver.room.joined) continue;
      driver.dispatch({ type: driver.room.problem === null ? "check" : "retry" });
    }
  }

  /** The room to open if the address is empty. */
  home(): Place {
    return this.kept.last.get().place ?? { realm: "chat", room: "general" };
  }

  /** `isReturn`: by the browser's history, so the room opens where its reader left it. */
  openAddress(address: Address | "invalid", isReturn: boolean) {
    const place = address === "invalid" ? null : address.place;
    const isSame = this.openPlace() !== null && samePlace(place, this.openPlace());
    const left = place && this.spots.of(place);
    const isBack = isReturn && !isSame && left !== null;
    const at = address === "invalid" || isBack ? null : address.at;
    this.jumps += 1;
    const jump = at && new Jump(at, this.jumps);
    if (isSame && this.visit) {
      this.visit.jump = jump;
    } else {
      this.openDriver()?.dispatch({ type: "held", isHeld: false });
      this.visit?.stop();
      this.visit = new Visit(place, jump, left, this.changed);
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
    if (samePlace(place, this.openPlace())) {
      this.visit?.stop();
      this.visit = null;
    }
    this.list();
  }

  loadOlder() {
    this.openDriver()?.loadOlder();
  }

  retryHistory() {
    this.openDriver()?.dispatch({ type: "retry" });
  }

  setAtEnd(place: Place, isAtEnd: boolean) {
    const driver = this.openDriver();
    if (!driver || !samePlace(place, driver.place)) return;
    this.visit?.setAtEnd(driver, isAtEnd);
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
    if (samePlace(place, this.openPlace())) this.visit?.wrote();
    // Even before its history comes, so that the room stays listed after the message is sent.
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

  /** Applies what another tab of this person has read, visited or drafted. */
  heard(event: StorageEvent) {
    const { read, rooms, drafts } = this.kept;
    if (rooms.heard(event) || drafts.heard(event)) this.list();
    else if (read.heard(event)) this.changed();
  }

  view(isOffline: boolean): Pick<ChatView, "rooms" | "room" | "unsent"> {
    return {
      rooms: this.places().map((place) => this.entry(place)),
      room: this.visit?.place === null ? INVALID : this.roomView(isOffline),
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
    if (!driver || !this.visit) return null;
    return {
      ...this.visit.show(driver, isOffline, this.me.uid),
      unread: this.unread(driver).count,
      mayWrite: this.mayWrite(driver.place) && !driver.room.forbidden,
    };
  }

  private roomChanged(driver: RoomDriver) {
    const { place, room } = driver;
    const isOpen = driver === this.openDriver();
    if (room.upto) {
      // In a room that is opened for the first time nothing is unread.
      if (!this.reading.lastRead(place)) this.reading.mark(place, room);
      this.lookAround(driver);
      if (isOpen && !room.forbidden) this.entered(place);
      if (!isOpen && room.rows.length > 2 * KEPT) driver.dispatch({ type: "trimmed", keep: KEPT });
    }
    if (isOpen) this.visit?.follow(driver);
    this.own.settle(driver);
    this.changed();
  }

  private lookAround(driver: RoomDriver) {
    if (driver !== this.openDriver()) return;
    const lastRead = () => this.reading.lastRead(driver.place);
    this.visit?.look(this.unread(driver).count, lastRead);
  }

  private entered(place: Place) {
    if (samePlace(this.kept.last.get().place ?? null, place)) return;
    this.kept.last.change(() => ({ place }));
    this.rooms.visit(place);
  }

  /** Updates which rooms are listed and have a driver. */
  private list() {
    this.rooms.keep(this.places());
    this.own.show();
    this.changed();
  }

  /** The listed rooms, including those with drafts or unsent messages. */
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
    return this.visit?.place ?? null;
  }

  private openDriver(): RoomDriver | undefined {
    const place = this.openPlace();
    return place ? this.rooms.find(place) : undefined;
  }
}

/** Rows that a room keeps while another one is open. */
const KEPT = 200;
