import type { VirtualItem } from "@tanstack/react-virtual";
import { useEffect, useMemo, useRef, useState } from "react";
import type { RoomView } from "../../store/view";

/**
 * The messages that arrived while the list was shown: a screen reader announces them. A message
 * that was scrolled out of the page and comes back is not announced again.
 */
export function useArrivals(
  room: RoomView,
  items: readonly VirtualItem[],
): (key: string) => boolean {
  const { entries, phase } = room;
  const [baseline, setBaseline] = useState<string | null>();
  if (baseline === undefined && phase === "ready") setBaseline(entries.at(-1)?.key ?? null);

  const { arrived, isFound } = useMemo(() => {
    const keys = new Set<string>();
    if (baseline === undefined) return { arrived: keys, isFound: true };
    for (let index = entries.length - 1; index >= 0; index -= 1) {
      const key = entries[index]?.key;
      if (key === undefined || key === baseline) return { arrived: keys, isFound: true };
      keys.add(key);
    }
    return { arrived: keys, isFound: baseline === null || entries.length === 0 };
  }, [entries, baseline]);
  // That message was dropped: what is loaded above the rest is not an arrival.
  if (!isFound) setBaseline(entries.at(-1)?.key ?? null);

  const [left] = useState(() => new Set<string>());
  const shown = useRef(new Set<string>());
  useEffect(() => {
    const now = new Set<string>();
    for (const { key } of items) now.add(String(key));
    for (const key of shown.current) {
      if (!now.has(key) && arrived.has(key)) left.add(key);
    }
    shown.current = now;
  }, [items, arrived, left]);

  return (key) => arrived.has(key) && !left.has(key);
}
