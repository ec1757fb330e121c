import type { OlderView, RoomView } from "../../store/view";
import type { Mark } from "../message/rows";
import { Marks } from "./Marks";

type Props = { room: RoomView; marks: readonly Mark[]; onRetry: () => void };

/** Above the first message: whether older ones exist. Its height is `TOP_SPACE`. */
export function ListTop({ room, marks, onRetry }: Props) {
  return (
    <div className="log-top">
      <Older older={room.older} room={room.place.room} onRetry={onRetry} />
      <Marks marks={marks} />
    </div>
  );
}

type OlderProps = { older: OlderView; room: string; onRetry: () => void };

function Older({ older, room, onRetry }: OlderProps) {
  switch (older.state) {
    case "unknown":
      return null;
    case "away":
      return (
        <p className="log-begin">
          <span>Earlier messages are loaded once the connection is back.</span>
        </p>
      );
    case "none":
      return (
        <p className="log-begin">
          <span>
            This is the beginning of <bdi>{room}</bdi>.
          </span>
        </p>
      );
    case "failed":
      return (
        <p className="log-begin" data-kind="danger">
          <span>
            {older.problem}{" "}
            <button type="button" className="link-button" onClick={onRetry}>
              Retry
            </button>
          </span>
        </p>
      );
    default:
      return (
        <p className="log-begin">
          <span className="spinner" aria-hidden="true" /> Loading older messages…
        </p>
      );
  }
}
