import { type RefObject, useLayoutEffect, useRef } from "react";
import type { Entry } from "../../model/message";
import type { Place } from "../../model/place";
import type { ChatActions, Spot } from "../../store/view";
import { isNearEnd } from "./useFollows";

/** Reports the scroll position when a room's list unmounts, so that the reader comes back there. */
export function useLeaving(
  chat: ChatActions,
  place: Place,
  entries: readonly Entry[],
  frame: RefObject<HTMLDivElement | null>,
  isPlaced: boolean,
): void {
  // The rendered rows, not those the store has by then, which are never shown.
  const shown = useRef({ entries, isPlaced });
  shown.current = { entries, isPlaced };
  useLayoutEffect(() => {
    const box = frame.current;
    return () => {
      const { entries, isPlaced } = shown.current;
      if (box && isPlaced && entries.length > 0) chat.leaveAt(place, spotIn(box, entries));
    };
  }, [chat, place, frame]);
}

/** The first message that begins in view, or the one that fills the view. Null at the end. */
function spotIn(box: Element, entries: readonly Entry[]): Spot | null {
  if (isNearEnd(box)) return null;
  const { top, bottom } = box.getBoundingClientRect();
  const seen = [...box.querySelectorAll("article")]
    .map((article) => ({ key: article.dataset["key"], box: article.getBoundingClientRect() }))
    .filter((one) => one.box.bottom > top && one.box.top < bottom);
  const found = seen.find((one) => one.box.top >= top) ?? seen[0];
  const entry = entries.find(({ key }) => key === found?.key);
  return found && entry ? { key: entry.key, top: found.box.top - top, at: entry.at } : null;
}
