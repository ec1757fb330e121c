import { Broken } from "../widgets/RoomNotice";
import { ShowRooms } from "./RoomHeader";

/** Shown instead of a room that failed to render; the other rooms stay reachable. */
export function BrokenRoom({ onShowRooms }: { onShowRooms: (() => void) | null }) {
  return (
    <main className="room">
      {onShowRooms && (
        <header className="room-header">
          <ShowRooms unread={false} onShowRooms={onShowRooms} />
        </header>
      )}
      <Broken />
    </main>
  );
}
