import type { Place } from "../../model/place";

/** Traces what the page does. */
export interface Tracing {
  /** The person's own message, from Enter (`began`, ms since 1970) to the answer. */
  send<T>(place: Place, id: string, began: number, work: Traced<T>): Promise<T>;
  /** A request for history. `enters`: it is the first one for the room. */
  history<T>(place: Place, enters: boolean, work: Traced<T>): Promise<T>;
  /** A live message was received; `traceparent` names the span that published it. */
  live(place: Place, traceparent: string | null): void;
}

/** Work that passes on its span's context, if there is one. */
export type Traced<T> = (traceparent?: string) => Promise<T>;

export const UNTRACED: Tracing = {
  send: (_place, _id, _began, work) => work(),
  history: (_place, _enters, work) => work(),
  live: () => {},
};
