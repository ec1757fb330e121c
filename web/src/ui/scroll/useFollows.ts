import { type RefObject, useEffect, useRef } from "react";

/** So near to its end the list counts as being there, and follows new messages. */
export const NEAR_END = 60;

export function isNearEnd(box: Element): boolean {
  return box.scrollHeight - box.scrollTop - box.clientHeight < NEAR_END;
}

/**
 * Whether the list follows its end. Only scrolling by the reader stops that: rotating a phone, or a
 * growing text field, also moves the end out of view, and then it is scrolled back.
 */
export function useFollows(
  frame: RefObject<HTMLDivElement | null>,
  toEnd: () => void,
): RefObject<boolean> {
  const follows = useRef(false);
  const shape = useRef("");

  useEffect(() => {
    if (frame.current) shape.current = shapeOf(frame.current);
  });

  useEffect(() => {
    const box = frame.current;
    if (!box) return;
    let top = box.scrollTop;
    const scrolled = () => {
      const isAsBefore = shape.current === shapeOf(box);
      if (isNearEnd(box)) follows.current = true;
      else if (isAsBefore && box.scrollTop < top) follows.current = false;
      top = box.scrollTop;
      shape.current = shapeOf(box);
    };
    // Before the virtualizer handles the event and changes the heights.
    box.addEventListener("scroll", scrolled, { capture: true, passive: true });
    const observer = new ResizeObserver(() => {
      if (follows.current) toEnd();
    });
    observer.observe(box);
    return () => {
      box.removeEventListener("scroll", scrolled, { capture: true });
      observer.disconnect();
    };
  }, [frame, toEnd]);

  return follows;
}

function shapeOf(box: Element): string {
  return `${box.clientWidth} ${box.clientHeight} ${box.scrollHeight}`;
}
