import { useEffect } from "react";
import type { ChatView } from "../store/view";

/** The tab's title: the unread count of all rooms, and the open room. */
export function useTitle(view: ChatView): void {
  const title = titleOf(view, document.hasFocus());
  useEffect(() => {
    document.title = title;
  }, [title]);
}

/** "(3) general · Chat", with "50+" if a room has more than it counts. */
export function titleOf(view: Pick<ChatView, "rooms" | "room">, isLookedAt: boolean): string {
  // Messages that arrive in view are unread for a moment only: the title would flicker.
  const counted = view.rooms.filter((room) => !(isLookedAt && room.isOpen));
  const unread = counted.reduce((sum, room) => sum + room.unread, 0);
  const more = counted.some((room) => room.unreadMore) ? "+" : "";
  const room = view.room?.place.room;
  return `${unread > 0 ? `(${unread}${more}) ` : ""}${room ? `${room} · ` : ""}Chat`;
}
