import { useVirtualizer, type VirtualItem, type Virtualizer } from "@tanstack/react-virtual";
import {
  type RefObject,
  useCallback,
  useEffect,
  useLayoutEffect,
  useMemo,
  useRef,
  useState,
} from "react";
import type { Row } from "../rows";
import type { RoomView } from "../view";

/** The height above the first message: whether there are older ones, and its day. */
export const TOP_SPACE = 104;

/** This near to its end the list counts as being there, and follows what arrives. */
const NEAR_END = 60;

/** Of most messages, before they are measured. */
const ROW_HEIGHT = 48;

export interface Scroll {
  readonly items: readonly VirtualItem[];
  /** The first row in view. */
  readonly first: number;
  readonly height: number;
  readonly measure: (element: Element | null) => void;
  /** The list stands where it belongs; before that nothing is to be concluded from it. */
  readonly isPlaced: boolean;
  readonly isAtEnd: boolean;
  /** The key of the message that a permalink led to. */
  readonly target: string | null;
  readonly toNewest: () => void;
  /** Brings a row into view. */
  readonly show: (index: number) => void;
  readonly element: (key: string) => Element | undefined;
}

/**
 * Where the list stands. It opens at the first unread message or at the end, keeps its place when
 * older messages come in above, follows new ones only at the end, and goes where a permalink leads.
 */
export function useScroll(
  frame: RefObject<HTMLDivElement | null>,
  rows: readonly Row[],
  room: RoomView,
): Scroll {
  const list = useVirtualizer({
    count: rows.length,
    getScrollElement: () => frame.current,
    estimateSize: () => ROW_HEIGHT,
    getItemKey: useCallback((index: number) => rows[index]?.entry.key ?? index, [rows]),
    paddingStart: TOP_SPACE,
    paddingEnd: 8,
    overscan: 8,
    anchorTo: "end",
    followOnAppend: true,
    scrollEndThreshold: NEAR_END,
  });

  useStillHead(list, rows);

  const [isPlaced, setPlaced] = useState(false);
  const [isAtEnd, setAtEnd] = useState(true);
  const toNewest = useCallback(() => list.scrollToEnd(), [list]);
  const show = useCallback((index: number) => list.scrollToIndex(index, { align: "auto" }), [list]);
  const element = useCallback((key: string) => list.elementsCache.get(key), [list]);

  const isEmpty = rows.length === 0;
  const opening = useRef({ rows, room });
  opening.current = { rows, room };
  useLayoutEffect(() => {
    if (isEmpty) return;
    const { rows, room } = opening.current;
    const unread = rows.findIndex((row) => row.entry.key === room.dividerBefore);
    // The row above carries the divider.
    if (unread > 0) list.scrollToIndex(unread - 1, { align: "start" });
    else list.scrollToEnd();
    // Until the next frame the rows in view are still those of the start.
    const frame = requestAnimationFrame(() => setPlaced(true));
    return () => cancelAnimationFrame(frame);
  }, [list, isEmpty]);

  const target = useTarget(room, rows, list.scrollToIndex);

  // After each change of what is shown, for all of them move the end: arrivals, heights, scrolling.
  useEffect(() => {
    if (!isEmpty) setAtEnd(list.isAtEnd(NEAR_END));
  });

  // A field that grows, or a phone's keyboard, takes height away below: the end stays in view.
  useEffect(() => {
    const box = frame.current;
    if (!box || !isAtEnd || isEmpty) return;
    const observer = new ResizeObserver(() => list.scrollToEnd());
    observer.observe(box);
    return () => observer.disconnect();
  }, [frame, list, isAtEnd, isEmpty]);

  return {
    items: list.getVirtualItems(),
    first: list.range?.startIndex ?? 0,
    height: list.getTotalSize(),
    measure: list.measureElement,
    isPlaced,
    isAtEnd: isEmpty || isAtEnd,
    target,
    toNewest,
    show,
    element,
  };
}

type ScrollToIndex = (index: number, options: { align: "center" }) => void;

/** Goes to the message that a permalink names, once for each time that it is opened. */
function useTarget(room: RoomView, rows: readonly Row[], scrollToIndex: ScrollToIndex) {
  const { target } = room;
  const key = target?.state === "found" ? target.key : null;
  const index = useMemo(
    () => (key === null ? -1 : rows.findIndex((row) => row.entry.key === key)),
    [rows, key],
  );
  const done = useRef<number | null>(null);
  useLayoutEffect(() => {
    if (!target || index < 0 || done.current === target.token) return;
    done.current = target.token;
    scrollToIndex(index, { align: "center" });
  }, [target, index, scrollToIndex]);
  return key;
}

/**
 * Keeps the message that was the oldest one where it is while older ones come in right above it: the
 * list corrects the guessed heights of rows above the view only, and these are in it.
 */
function useStillHead(list: Virtualizer<HTMLDivElement, Element>, rows: readonly Row[]) {
  const head = useRef<{ key: string | undefined; index: number }>({ key: undefined, index: 0 });
  const first = rows[0]?.entry.key;
  if (head.current.key !== first) {
    const index = rows.findIndex((row) => row.entry.key === head.current.key);
    head.current = { key: first, index };
  }
  list.shouldAdjustScrollPositionOnItemSizeChange = (item) => {
    const top = list.scrollOffset ?? 0;
    const isMeasured = list.itemSizeCache.has(item.key);
    // The library's own rule.
    if (isMeasured) return item.end <= top && list.scrollDirection !== "backward";
    if (item.start < top) return true;
    const old = list.measurementsCache[head.current.index];
    return old !== undefined && item.index < old.index && old.start - top <= TOP_SPACE * 2;
  };
}
