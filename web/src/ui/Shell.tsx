import { useCallback, useEffect, useState } from "react";
import type { Me } from "../model/me";
import { placeKey } from "../model/place";
import type { ChatActions, ChatView } from "../store/view";
import { BrokenRoom } from "./room/BrokenRoom";
import { Room } from "./room/Room";
import { Sidebar } from "./sidebar/Sidebar";
import { useRoomKeys } from "./sidebar/useRoomKeys";
import { useTitle } from "./useTitle";
import { Boundary } from "./widgets/Boundary";
import { Dialog } from "./widgets/Dialog";
import { Broken } from "./widgets/RoomNotice";
import { useIsNarrow } from "./widgets/useIsNarrow";

type Props = { chat: ChatActions; view: ChatView; me: Me };

/** The page after login: the rooms, and the open one. */
export function Shell({ chat, view, me }: Props) {
  const isNarrow = useIsNarrow();
  const [isDrawerOpen, setDrawerOpen] = useState(false);
  const openDrawer = useCallback(() => setDrawerOpen(true), []);
  const closeDrawer = useCallback(() => setDrawerOpen(false), []);

  // An admin room that somebody else opens by its address says so itself: it is not listed.
  const rooms = me.isAdmin ? view.rooms : view.rooms.filter(({ place }) => place.realm === "chat");
  useTitle(view);
  useRoomKeys(rooms);

  // A room was opened, in the drawer or in any other way: show it.
  useEffect(() => {
    window.addEventListener("hashchange", closeDrawer);
    return () => window.removeEventListener("hashchange", closeDrawer);
  }, [closeDrawer]);

  const sidebar = (
    <Boundary of="rooms" instead={<Broken />}>
      <Sidebar chat={chat} rooms={rooms} me={me} onChoose={closeDrawer} />
    </Boundary>
  );
  const onShowRooms = isNarrow ? openDrawer : null;
  return (
    <div className="shell">
      {!isNarrow && <aside className="side-frame">{sidebar}</aside>}
      {isNarrow && isDrawerOpen && (
        <Dialog label="Rooms and account" className="drawer" onClose={closeDrawer}>
          {sidebar}
        </Dialog>
      )}
      <Boundary
        of={view.room ? placeKey(view.room.place) : ""}
        instead={<BrokenRoom onShowRooms={onShowRooms} />}
      >
        <Room chat={chat} view={view} onShowRooms={onShowRooms} />
      </Boundary>
    </div>
  );
}
