import { useMedia } from "./useMedia";

/** Whether the page is as narrow as on a phone: one column, the rooms in a drawer. */
export function useIsNarrow(): boolean {
  return useMedia("(max-width: 719px)");
}
