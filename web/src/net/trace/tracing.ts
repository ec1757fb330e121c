import type { Place } from "../../model/place";

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

export const UNTRACED: Tracing = {
  send: (_place, _id, _began, work) => work(),
  history: (_place, _enters, work) => work(),
  live: () => {},
};
