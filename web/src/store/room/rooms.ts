import { isToken, type Place, placeKey, samePlace } from "../../model/place";
import type { Connection } from "../../net/connection";
import type { StoredValue } from "../storage/stored-value";
import { RoomDriver, type Surroundings } from "./driver";

/** The rooms that everybody has. */
const EVERYBODY: readonly Place[] = ["general", "random", "help"].map((room) => ({
  realm: "chat",
  room,
}));

const ADMINS: readonly Place[] = [{ realm: "admin", room: "staff" }];

/** How many visited rooms stay listed, latest first. Each costs a subscription. */
const MOST_VISITED = 30;

/** The listed rooms, each with its driver. */
export class Rooms {
  private readonly drivers = new Map<string, RoomDriver>();
  private connection: Connection | null = null;

  constructor(
    private readonly visited: StoredValue<readonly Place[]>,
    private readonly around: (driver: () => RoomDriver) => Surroundings,
  ) {}

  /**
   * In the order of the navigation. `open` is listed even before it is loaded; `held` are rooms
   * with drafts or unsent messages, which must stay reachable.
   */
  list(open: Place | null, isAdmin: boolean, held: readonly Place[] = []): readonly Place[] {
    const fixed = isAdmin ? [...EVERYBODY, ...ADMINS] : EVERYBODY;
    const kept = [...this.visited.get(), ...held].filter(
      ({ realm }) => isAdmin || realm === "chat",
    );
    const places = [...fixed, ...kept, ...(open ? [open] : [])].filter(
      (place, index, all) => all.findIndex((other) => samePlace(place, other)) === index,
    );
    const chat = places.filter(({ realm }) => realm === "chat");
    return [...chat, ...places.filter(({ realm }) => realm === "admin")];
  }

  /** Visited rooms may be left; the rooms of everybody may not. */
  canLeave(place: Place): boolean {
    return this.visited.get().some((other) => samePlace(other, place)) && !isFixed(place);
  }

  /** Starts and stops drivers so that exactly these places have one. */
  keep(places: readonly Place[]) {
    const keys = new Set(places.map(placeKey));
    for (const [key, driver] of this.drivers) {
      if (keys.has(key)) continue;
      this.drivers.delete(key);
      driver.stop();
    }
    for (const place of places) this.driver(place);
  }

  driver(place: Place): RoomDriver {
    const known = this.find(place);
    if (known) return known;
    const driver: RoomDriver = new RoomDriver(
      place,
      this.around(() => driver),
    );
    this.drivers.set(placeKey(place), driver);
    if (this.connection) void driver.up(this.connection);
    return driver;
  }

  find(place: Place): RoomDriver | undefined {
    return this.drivers.get(placeKey(place));
  }

  all(): Iterable<RoomDriver> {
    return this.drivers.values();
  }

  up(connection: Connection) {
    this.connection = connection;
    for (const driver of this.drivers.values()) void driver.up(connection);
  }

  down() {
    this.connection = null;
    for (const driver of this.drivers.values()) driver.down();
  }

  stop() {
    this.connection = null;
    for (const driver of this.drivers.values()) driver.stop();
    this.drivers.clear();
  }

  visit(place: Place) {
    if (isFixed(place) || this.canLeave(place)) return;
    this.visited.change((visited) => {
      const others = visited.filter((one) => isToken(one.room) && !samePlace(one, place));
      return [...others, place].slice(-MOST_VISITED);
    });
  }

  forget(place: Place) {
    this.visited.change((visited) => visited.filter((other) => !samePlace(other, place)));
  }
}

function isFixed(place: Place): boolean {
  return [...EVERYBODY, ...ADMINS].some((fixed) => samePlace(fixed, place));
}
