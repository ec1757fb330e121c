import type { Virtualizer } from "@tanstack/react-virtual";
import { useRef } from "react";
import type { Row } from "../message/rows";

/**
 * Keeps the oldest message in place while older ones are added above it: the virtualizer corrects
 * estimated heights only for rows above the view, and these are in it.
 */
export function useStillHead(
  list: Virtualizer<HTMLDivElement, Element>,
  rows: readonly Row[],
  topSpace: number,
): void {
  const head = useRef<{ key: string | undefined; index: number }>({ key: undefined, index: 0 });
  const first = rows[0]?.entry.key;
  if (head.current.key !== first) {
    const index = rows.findIndex((row) => row.entry.key === head.current.key);
    head.current = { key: first, index };
  }
  list.shouldAdjustScrollPositionOnItemSizeChange = (item) => {
    const top = list.scrollOffset ?? 0;
    const isMeasured = list.itemSizeCache.has(item.key);
    // The virtualizer's own rule.
    if (isMeasured) return item.end <= top && list.scrollDirection !== "backward";
    if (item.start < top) return true;
    const old = list.measurementsCache[head.current.index];
    return old !== undefined && item.index < old.index && old.start - top <= topSpace * 2;
  };
}
