import { useEffect } from "react";
import { writeAddress } from "../../model/place";
import type { RoomEntry } from "../../store/view";

/** Alt+Up and Alt+Down switch rooms, from anywhere in the page. */
export function useRoomKeys(rooms: readonly RoomEntry[]): void {
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (!event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
      if (event.key !== "ArrowUp" && event.key !== "ArrowDown") return;
      event.preventDefault();
      const next = neighbour(rooms, event.key === "ArrowDown" ? 1 : -1);
      if (next) location.hash = writeAddress(next.place);
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, [rooms]);
}

function neighbour(rooms: readonly RoomEntry[], step: 1 | -1): RoomEntry | undefined {
  const open = rooms.findIndex((room) => room.isOpen);
  if (open < 0) return rooms[0];
  return rooms[(open + step + rooms.length) % rooms.length];
}
