import { useMedia } from "./useMedia";

/** A phone's width: one column, the rooms in a drawer. Kept up to date. */
export function useIsNarrow(): boolean {
  return useMedia("(max-width: 719px)");
}
