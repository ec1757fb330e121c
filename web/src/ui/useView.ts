import { useCallback, useSyncExternalStore } from "react";
import type { ChatActions, ChatView } from "../store/view";

/** A hidden page draws no frames, but its title shows unread counts. */
const WITHOUT_FRAMES_MS = 100;

/**
 * The store's view, updated at most once per frame: a burst of messages is rendered once, and React
 * stops with an error when updates follow each other without end.
 */
export function useView(chat: ChatActions): ChatView {
  const subscribe = useCallback(
    (listener: () => void) => {
      let frame = 0;
      let timer = 0;
      const run = () => {
        cancelAnimationFrame(frame);
        clearTimeout(timer);
        frame = 0;
        listener();
      };
      const unsubscribe = chat.subscribe(() => {
        if (frame !== 0) return;
        frame = requestAnimationFrame(run);
        timer = window.setTimeout(run, WITHOUT_FRAMES_MS);
      });
      return () => {
        unsubscribe();
        cancelAnimationFrame(frame);
        clearTimeout(timer);
      };
    },
    [chat],
  );
  return useSyncExternalStore(subscribe, chat.getSnapshot);
}
