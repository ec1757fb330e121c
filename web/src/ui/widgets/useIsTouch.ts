import { useMedia } from "./useMedia";

/** Whether this is a phone or a tablet, whose on-screen keyboard has no Shift+Enter. */
export function useIsTouch(): boolean {
  return useMedia("(pointer: coarse) and (hover: none)");
}
