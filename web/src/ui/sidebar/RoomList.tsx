import { Clock, Pencil, TriangleAlert, X } from "lucide-react";
import { type KeyboardEvent, memo, useId } from "react";
import { placeKey, writeAddress } from "../../model/place";
import type { ChatActions, RoomEntry } from "../../store/view";
import { Sign } from "../widgets/Sign";

type Props = { chat: ChatActions; rooms: readonly RoomEntry[]; onChoose: () => void };

/** The navigation: a link per room; arrow keys move between them. */
export function RoomList({ chat, rooms, onChoose }: Props) {
  const admin = rooms.filter((room) => room.place.realm === "admin");
  const open = rooms.filter((room) => room.place.realm === "chat");
  return (
    <nav className="rooms" aria-label="Rooms" onKeyDown={moveFocus}>
      <h2>Rooms</h2>
      <List chat={chat} rooms={open} onChoose={onChoose} />
      {admin.length > 0 && (
        <>
          <h2>Admin rooms</h2>
          <List chat={chat} rooms={admin} onChoose={onChoose} />
        </>
      )}
    </nav>
  );
}

function List({ chat, rooms, onChoose }: Props) {
  return (
    <ul>
      {rooms.map((room) => (
        <li key={placeKey(room.place)}>
          <RoomLink room={room} onChoose={onChoose} />
          {room.canLeave && !room.isOpen && (
            <button
              type="button"
              className="leave"
              aria-label={`Remove ${room.place.room} from the list`}
              onClick={() => chat.leaveRoom(room.place)}
            >
              <X size={14} aria-hidden="true" />
            </button>
          )}
        </li>
      ))}
    </ul>
  );
}

type LinkProps = { room: RoomEntry; onChoose: () => void };

const RoomLink = memo(function RoomLink({ room, onChoose }: LinkProps) {
  const marks = useId();
  return (
    <>
      <a
        className="room-link"
        href={writeAddress(room.place)}
        aria-current={room.isOpen ? "page" : undefined}
        aria-describedby={marks}
        data-unread={isUnread(room) || undefined}
        onClick={onChoose}
      >
        <Sign realm={room.place.realm} />
        <bdi className="name">{room.place.room}</bdi>
      </a>
      {/* Outside the link, whose accessible name stays the room's; this is its description. */}
      <span className="marks" id={marks}>
        <RoomMarks room={room} />
      </span>
    </>
  );
});

function RoomMarks({ room }: { room: RoomEntry }) {
  return (
    <>
      {room.failed > 0 && (
        <TriangleAlert
          className="failed-mark"
          size={14}
          role="img"
          aria-label="Messages not sent"
        />
      )}
      {/* In the open room each message shows it. */}
      {room.queued > 0 && !room.isOpen && (
        <Clock className="waiting-mark" size={14} role="img" aria-label="Messages wait" />
      )}
      {room.hasDraft && !room.isOpen && (
        <Pencil className="draft-mark" size={14} role="img" aria-label="Draft" />
      )}
      {isUnread(room) && (
        <span className="badge">
          {room.unread}
          {room.unreadMore && "+"}
          <span className="visually-hidden"> unread</span>
        </span>
      )}
    </>
  );
}

/** The open room shows its count in the list, on the button to the newest message. */
function isUnread(room: RoomEntry): boolean {
  return room.unread > 0 && !room.isOpen;
}

function moveFocus(event: KeyboardEvent<HTMLElement>): void {
  if (event.altKey || (event.key !== "ArrowUp" && event.key !== "ArrowDown")) return;
  const links = [...event.currentTarget.querySelectorAll<HTMLElement>(".room-link")];
  const at = links.indexOf(document.activeElement as HTMLElement);
  const next = links[(at + (event.key === "ArrowDown" ? 1 : -1) + links.length) % links.length];
  event.preventDefault();
  next?.focus();
}
