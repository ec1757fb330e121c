import { type RefObject, useEffect, useRef } from "react";

/** This near to its end the list counts as being there, and follows what arrives. */
export const NEAR_END = 60;

export function isNearEnd(box: Element): boolean {
  return box.scrollHeight - box.scrollTop - box.clientHeight < NEAR_END;
}

/**
 * Whether the reader stays at the end. Only their scrolling says no: a phone that is turned, or a
 * field that grows, also takes the end out of view, and there it is to be brought back.
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
    // Before the list hears of it, and changes its shape.
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
