import { useMemo, useSyncExternalStore } from "react";

/** A phone's width: one column, the rooms in a drawer. Kept up to date. */
export function useIsNarrow(): boolean {
  const list = useMemo(() => window.matchMedia("(max-width: 719px)"), []);
  return useSyncExternalStore(
    (changed) => {
      list.addEventListener("change", changed);
      return () => list.removeEventListener("change", changed);
    },
    () => list.matches,
  );
}
