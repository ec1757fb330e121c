import { useCallback, useSyncExternalStore } from "react";
import type { ChatActions, ChatView } from "../store/view";

/** A page that nobody looks at draws no frames, but its title counts what is unread. */
const WITHOUT_FRAMES_MS = 100;

/**
 * What is to be shown, at most once for each frame: a burst of messages is one rendering, not one
 * for each, and React gives up where renderings follow upon each other without end.
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
