import { type RefObject, useLayoutEffect } from "react";

const MARGIN_PX = 4;

/** Tells the style sheet how far an element may move within its message to stay inside the list. */
export function useInside(box: RefObject<HTMLElement | null>): void {
  useLayoutEffect(() => {
    const article = box.current?.closest("article");
    const log = article?.closest("[role=log]");
    if (!article || !log) return;
    const look = () => {
      const { style, offsetHeight } = box.current ?? {};
      const origin = article.getBoundingClientRect().top;
      const { top, bottom } = log.getBoundingClientRect();
      style?.setProperty("--from", `${top - origin + MARGIN_PX}px`);
      style?.setProperty("--to", `${bottom - origin - (offsetHeight ?? 0) - MARGIN_PX}px`);
    };
    look();
    log.addEventListener("scroll", look, { passive: true });
    return () => log.removeEventListener("scroll", look);
  }, [box]);
}
