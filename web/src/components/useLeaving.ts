import { type RefObject, useLayoutEffect, useRef } from "react";
import type { Place } from "../place";
import type { ChatActions, Spot } from "../view";
import { isNearEnd } from "./useFollows";

/** Tells where the reader of a room stood when its list goes, so that they come back there. */
export function useLeaving(
  chat: ChatActions,
  place: Place,
  frame: RefObject<HTMLDivElement | null>,
  isPlaced: boolean,
): void {
  const placed = useRef(isPlaced);
  placed.current = isPlaced;
  useLayoutEffect(() => {
    const box = frame.current;
    return () => {
      if (box && placed.current) chat.leaveAt(place, spotIn(box));
    };
  }, [chat, place, frame]);
}

/** The first message that begins in view, or else the one that fills it. Null at the end. */
function spotIn(box: Element): Spot | null {
  if (isNearEnd(box)) return null;
  const { top, bottom } = box.getBoundingClientRect();
  const seen = [...box.querySelectorAll("article")]
    .map((article) => ({ key: article.dataset["key"], box: article.getBoundingClientRect() }))
    .filter((one) => one.box.bottom > top && one.box.top < bottom);
  const found = seen.find((one) => one.box.top >= top) ?? seen[0];
  return found?.key ? { key: found.key, top: found.box.top - top } : null;
}
