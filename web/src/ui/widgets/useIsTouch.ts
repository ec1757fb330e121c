import { useMedia } from "./useMedia";

/** A phone or a tablet: one writes on the screen, where no Shift+Enter can be had. */
export function useIsTouch(): boolean {
  return useMedia("(pointer: coarse) and (hover: none)");
}
