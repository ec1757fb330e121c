import { useCallback, useEffect, useRef, useState } from "react";
import type { Place } from "../../model/place";
import type { ChatActions } from "../../store/view";

/**
 * What is being written in a room: shown, set without keeping it, and changed as by hand, which
 * keeps it. A person has one draft of a room, so what they write in another tab shows here too:
 * else whichever tab wrote last would take away what stands in the other.
 */
export function useDraft(chat: ChatActions, place: Place) {
  const [text, setText] = useState(() => chat.draft(place));
  const known = useRef(text);

  useEffect(() => {
    const look = () => {
      const draft = chat.draft(place);
      if (draft === known.current) return;
      known.current = draft;
      setText(draft);
    };
    look();
    return chat.subscribe(look);
  }, [chat, place]);

  const change = useCallback(
    (next: string) => {
      known.current = next;
      setText(next);
      chat.setDraft(place, next);
    },
    [chat, place],
  );

  return [text, setText, change] as const;
}
