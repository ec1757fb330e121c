import { useLayoutEffect, useMemo, useRef } from "react";
import type { Row } from "../rows";
import type { RoomView } from "../view";

type ToIndex = (index: number, align: "center") => void;

/** Goes to the message that a permalink names, once for each time that it is opened. */
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
  return key;
}
