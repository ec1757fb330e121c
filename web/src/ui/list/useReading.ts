import { useEffect } from "react";
import type { Place } from "../../model/place";
import type { ChatActions } from "../../store/view";

/** Marks the room as read while the newest message is in view and the page has the focus. */
export function useReading(chat: ChatActions, place: Place, count: number, isAtEnd: boolean): void {
  // biome-ignore lint/correctness/useExhaustiveDependencies: each new message is to be marked.
  useEffect(() => {
    if (!isAtEnd) return;
    const read = () => {
      if (document.visibilityState === "visible" && document.hasFocus()) chat.markRead(place);
    };
    read();
    window.addEventListener("focus", read);
    document.addEventListener("visibilitychange", read);
    return () => {
      window.removeEventListener("focus", read);
      document.removeEventListener("visibilitychange", read);
    };
  }, [chat, place, count, isAtEnd]);
}
