import { Broken } from "../widgets/RoomNotice";
import { ShowRooms } from "./RoomHeader";

/** Instead of a room that failed: the way to the others stays. */
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
