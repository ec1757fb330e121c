import { useCallback, useEffect, useRef, useState } from "react";
import type { Place } from "../../model/place";
import type { ChatActions } from "../../store/view";

/**
 * The draft of a room: the text, a setter that does not store it, and a setter for typing, which
 * does. A person has one draft per room, so a change in another tab shows here too: otherwise the
 * tab that wrote last would overwrite the other's text.
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
