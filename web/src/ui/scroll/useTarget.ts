import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "react";
import type { RoomView } from "../../store/view";
import type { Row } from "../message/rows";

/** How long the message stays marked; `messages.css` fades the mark out. */
const MARKED_MS = 3_000;

type ToIndex = (index: number, align: "center") => void;

/** Scrolls to the message of a permalink and returns which to mark, each time it is opened. */
export function useTarget(room: RoomView, rows: readonly Row[], toIndex: ToIndex): string | null {
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
    toIndex(index, "center");
  }, [target, index, toIndex]);

  const [faded, setFaded] = useState<number | null>(null);
  const token = target && index >= 0 ? target.token : null;
  useEffect(() => {
    if (token === null) return;
    const timer = setTimeout(() => setFaded(token), MARKED_MS);
    return () => clearTimeout(timer);
  }, [token]);
  return token === faded ? null : key;
}
