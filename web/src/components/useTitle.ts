import { useEffect } from "react";
import type { ChatView } from "../view";

/** The tab's title: the room, and before it how much is unread anywhere. */
export function useTitle(view: ChatView): void {
  // What arrives under the reader's eyes is unread for a moment only: the title would flicker.
  const isLookedAt = document.hasFocus();
  const counted = view.rooms.filter((room) => !(isLookedAt && room.isOpen));
  const unread = counted.reduce((sum, room) => sum + room.unread, 0);
  const room = view.room?.place.room;
  const title = `${unread > 0 ? `(${unread}) ` : ""}${room ? `${room} · ` : ""}Chat`;
  useEffect(() => {
    document.title = title;
  }, [title]);
}
