import { hasKey } from "../../model/keys";
import type { Entry } from "../../model/message";
import type { Room } from "../../model/room";
import type { GapView, OlderView, RoomView } from "../view";
import type { RoomDriver } from "./driver";

/** The parts of a room's view that depend on the room alone. */
export type Shown = Pick<RoomView, "phase" | "entries" | "older" | "gap" | "problem">;

/** Derives what is shown of a room. */
export function show({ room, isSlow }: RoomDriver, isOffline: boolean): Shown {
  const isKnown = room.upto !== null;
  const away =
    isOffline && !isKnown ? "You are offline. The room is loaded once you are back." : null;
  const problem = room.problem ?? away;
  const hasGap = problem !== null || (isSlow && room.asking !== null);
  const heard = hasGap
    ? room.waiting.flatMap(({ live }) => (live.message ? live.message : []))
    : [];
  const entries = entriesOf(
    room,
    heard.map((message) => ({ ...message, at: null })),
  );
  const before = heard.find(({ key }) => !hasKey(room.rows, key))?.key ?? null;
  return {
    phase: phase(room, problem),
    entries,
    older: older(room, isOffline),
    gap: isKnown && hasGap ? gap(problem, before) : null,
    problem,
  };
}

function phase(room: Room, problem: string | null): RoomView["phase"] {
  if (room.forbidden) return "forbidden";
  if (room.upto) return "ready";
  return problem === null ? "loading" : "failed";
}

function older(room: Room, isOffline: boolean): OlderView {
  const { askingOlder, olderProblem, hasOlder, upto } = room;
  // Only an answer of history tells whether older messages exist.
  if (upto === null) return { state: isOffline ? "away" : "unknown" };
  if (askingOlder) return { state: "loading" };
  if (olderProblem !== null) return { state: "failed", problem: olderProblem };
  return { state: hasOlder ? "some" : "none" };
}

function gap(problem: string | null, before: string | null): GapView | null {
  if (problem === null && before === null) return null;
  return { before, state: problem === null ? "loading" : "failed" };
}

/** Rows, live messages behind a gap, and the person's own unsent messages, without duplicates. */
function entriesOf(room: Room, heard: readonly Entry[]): readonly Entry[] {
  const own = [...room.owed.map(({ entry }) => entry), ...room.unsent];
  if (heard.length === 0 && own.length === 0) return room.rows;
  const seen = new Set<string>();
  const rest = [...heard, ...own].filter(({ key }) => {
    const isNew = !hasKey(room.rows, key) && !seen.has(key);
    seen.add(key);
    return isNew;
  });
  return rest.length === 0 ? room.rows : [...room.rows, ...rest];
}
