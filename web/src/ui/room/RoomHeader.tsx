import { Menu } from "lucide-react";
import type { Place } from "../../model/place";
import type { LinkView } from "../../store/view";
import { Sign } from "../widgets/Sign";

type Props = {
  place: Place | null;
  link: LinkView;
  /** Another room has unread messages: marks the button that shows the rooms. */
  unread: boolean;
  onShowRooms: (() => void) | null;
};

const STATES: Record<LinkView["state"], string> = {
  connecting: "Connecting…",
  online: "Connected",
  slow: "Slow connection…",
  offline: "Offline, reconnecting…",
};

/** The room's name, and whether the page is connected. */
export function RoomHeader({ place, link, unread, onShowRooms }: Props) {
  return (
    <header className="room-header">
      {onShowRooms && <ShowRooms unread={unread} onShowRooms={onShowRooms} />}
      <h1>
        {/* An invalid address names no room. */}
        {place?.room && <Sign realm={place.realm} size={18} />}
        <bdi>{place?.room || "Chat"}</bdi>
      </h1>
      {/* The text stays the same over all attempts, so that screen readers announce it once. */}
      <span className="connection" role="status" data-state={link.state}>
        <span className="label">{STATES[link.state]}</span>
      </span>
    </header>
  );
}

type ShowRoomsProps = { unread: boolean; onShowRooms: () => void };

/** The button that shows the rooms, on narrow screens. */
export function ShowRooms({ unread, onShowRooms }: ShowRoomsProps) {
  return (
    <button
      type="button"
      className="icon-button show-rooms"
      aria-label={unread ? "Show rooms, some with new messages" : "Show rooms"}
      data-unread={unread || undefined}
      onClick={onShowRooms}
    >
      <Menu size={20} aria-hidden="true" />
    </button>
  );
}
