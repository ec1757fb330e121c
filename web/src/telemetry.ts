import type { Config } from "./config";
import type { Place } from "./place";

/** Where the page says what it does, for whoever traces it. */
export interface Tracing {
  /** One's own message, from the person's Enter (`began`, ms since 1970) to its answer. */
  send<T>(place: Place, id: string, began: number, work: Traced<T>): Promise<T>;
  /** A question for history. `enters`: it is the first one of a room. */
  history<T>(place: Place, enters: boolean, work: Traced<T>): Promise<T>;
  /** A message was heard; its headers name the span that published it. */
  live(place: Place, traceparent: string | null): void;
}

/** Work that passes its span's context on, where there is one. */
export type Traced<T> = (traceparent?: string) => Promise<T>;

/** Loads what traces, where the configuration wants that; most pages never load it. */
export async function tracing({ telemetry, websocket }: Config): Promise<Tracing> {
  if (!telemetry) return UNTRACED;
  try {
    const late = new Promise<null>((resolve) => setTimeout(resolve, LOAD_MS, null));
    const loaded = await Promise.race([import("./tracer"), late]);
    return loaded ? new loaded.Tracer(telemetry, new URL(websocket)) : UNTRACED;
  } catch {
    // Chatting goes on without traces.
    return UNTRACED;
  }
}

/** Nobody waits longer for it to log in. */
const LOAD_MS = 5_000;

export const UNTRACED: Tracing = {
  send: (_place, _id, _began, work) => work(),
  history: (_place, _enters, work) => work(),
  live: () => {},
};
