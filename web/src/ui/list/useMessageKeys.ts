import { type KeyboardEvent, useLayoutEffect, useRef, useState } from "react";
import type { Row } from "../message/rows";
import type { Scroll } from "../scroll/useScroll";

/**
 * Arrow keys move up and down through the messages. Tab reaches only one of them, the last one that
 * had the focus or else the newest, and then its actions.
 */
export function useMessageKeys(rows: readonly Row[], scroll: Scroll) {
  const [chosen, choose] = useState<string | null>(null);
  const goal = useRef<string | null>(null);

  // The row may not be in the document yet when a key moves to it.
  useLayoutEffect(() => {
    if (goal.current === null) return;
    const article = scroll.element(goal.current)?.querySelector("article");
    if (!article) return;
    goal.current = null;
    article.focus({ preventScroll: true });
  });

  const onKeyDown = (event: KeyboardEvent) => {
    const article = (event.target as HTMLElement).closest("article");
    if (!article || event.altKey || event.ctrlKey || event.metaKey) return;
    const at = rows.findIndex((row) => row.entry.key === article.dataset["key"]);
    const next = target(event.key, at, rows.length);
    const key = next === null ? undefined : rows[next]?.entry.key;
    if (next === null || key === undefined) return;
    event.preventDefault();
    goal.current = key;
    choose(key);
    scroll.show(next);
  };

  const inView = scroll.items.some((item) => item.key === chosen);
  const fallback = scroll.items.at(-1)?.key;
  return { onKeyDown, current: inView ? chosen : (fallback ?? null) };
}

function target(key: string, at: number, count: number): number | null {
  switch (key) {
    case "ArrowUp":
      return at > 0 ? at - 1 : null;
    case "ArrowDown":
      return at >= 0 && at < count - 1 ? at + 1 : null;
    case "Home":
      return 0;
    case "End":
      return count - 1;
    default:
      return null;
  }
}
