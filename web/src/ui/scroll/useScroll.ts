import { useVirtualizer, type VirtualItem } from "@tanstack/react-virtual";
import { type RefObject, useCallback, useEffect, useLayoutEffect, useRef, useState } from "react";
import type { RoomView } from "../../store/view";
import type { Row } from "../message/rows";
import { isNearEnd, NEAR_END, useFollows } from "./useFollows";
import { useStillHead } from "./useStillHead";
import { useTarget } from "./useTarget";
import { whenStill } from "./whenStill";

/** The height of the space above the first message, with `ListTop` and the first day. */
export const TOP_SPACE = 104;

/** The estimated height of a row, before it is measured. */
const ROW_HEIGHT = 48;

export interface Scroll {
  readonly items: readonly VirtualItem[];
  /** The first row in view. */
  readonly first: number;
  readonly height: number;
  readonly measure: (element: Element | null) => void;
  /** The list has reached its initial position; before that its position means nothing. */
  readonly isPlaced: boolean;
  /** The newest message is in view, after the list has reached its initial position. */
  readonly isAtEnd: boolean;
  /** The key of the message that a permalink led to. */
  readonly target: string | null;
  readonly toNewest: () => void;
  /** Scrolls back to the end if the reader is there: something below the list has grown. */
  readonly keepEnd: () => void;
  /** Brings a row into view. */
  readonly show: (index: number) => void;
  /** Keeps the top row in place over the next change of heights, even at the end. */
  readonly stay: () => void;
  readonly element: (key: string) => Element | undefined;
}

/**
 * The scroll position of the list. It opens where its reader left it, else at the first unread
 * message or at the end, keeps its position when older messages are added above, follows new ones
 * only at the end, and scrolls to the message of a permalink.
 */
export function useScroll(
  frame: RefObject<HTMLDivElement | null>,
  rows: readonly Row[],
  room: RoomView,
): Scroll {
  // How far below the top of the view the row begins that was scrolled to.
  const inset = useRef(0);
  const list = useVirtualizer({
    count: rows.length,
    getScrollElement: () => frame.current,
    estimateSize: () => ROW_HEIGHT,
    getItemKey: useCallback((index: number) => rows[index]?.entry.key ?? index, [rows]),
    paddingStart: TOP_SPACE,
    paddingEnd: 8,
    scrollPaddingStart: inset.current,
    overscan: 8,
    anchorTo: "end",
    followOnAppend: true,
    scrollEndThreshold: NEAR_END,
  });

  useStillHead(list, rows, TOP_SPACE);

  const [isPlaced, setPlaced] = useState(false);
  const [isAtEnd, setAtEnd] = useState(false);
  const toEnd = useCallback(() => list.scrollToEnd(), [list]);
  const follows = useFollows(frame, toEnd);
  const toNewest = useCallback(() => {
    follows.current = true;
    toEnd();
  }, [follows, toEnd]);
  const keepEnd = useCallback(() => {
    if (follows.current && frame.current) frame.current.scrollTop = frame.current.scrollHeight;
  }, [follows, frame]);
  const toIndex = useCallback(
    (index: number, align: "start" | "center" | "auto", top = 0) => {
      follows.current = false;
      inset.current = top;
      list.options.scrollPaddingStart = top;
      list.scrollToIndex(index, { align });
    },
    [list, follows],
  );
  const show = useCallback((index: number) => toIndex(index, "auto"), [toIndex]);
  const stay = useCallback(() => {
    follows.current = false;
    // Until the next rendering updates it.
    list.options.scrollEndThreshold = Number.NEGATIVE_INFINITY;
  }, [list, follows]);
  const element = useCallback((key: string) => list.elementsCache.get(key), [list]);

  const isEmpty = rows.length === 0;
  const opening = useRef({ rows, room });
  opening.current = { rows, room };
  useLayoutEffect(() => {
    const box = frame.current;
    if (isEmpty || !box) return;
    const { rows, room } = opening.current;
    const left = rows.findIndex((row) => row.entry.key === room.spot?.key);
    const unread = rows.findIndex((row) => row.entry.key === room.dividerBefore);
    if (left >= 0) toIndex(left, "start", room.spot?.top);
    // The divider is in the row above; that of the first row is in the space above it.
    else if (unread > 0) toIndex(unread - 1, "start");
    else if (unread === 0) list.scrollToOffset(0);
    else toNewest();
    return whenStill(box, () => {
      follows.current = isNearEnd(box);
      setAtEnd(follows.current);
      setPlaced(true);
    });
  }, [frame, list, follows, toIndex, toNewest, isEmpty]);

  const target = useTarget(room, rows, toIndex);

  // After each rendering: arrivals, heights and scrolling all move the end. The virtualizer's own
  // offset is one event late after a scroll.
  useEffect(() => {
    if (frame.current && !isEmpty) setAtEnd(isNearEnd(frame.current));
  });

  return {
    items: list.getVirtualItems(),
    first: list.range?.startIndex ?? 0,
    height: list.getTotalSize(),
    measure: list.measureElement,
    isPlaced,
    isAtEnd: isEmpty || (isPlaced && isAtEnd),
    target,
    toNewest,
    keepEnd,
    show,
    stay,
    element,
  };
}
