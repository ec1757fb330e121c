import { Plus } from "lucide-react";
import { useState } from "react";
import type { Me } from "../../model/me";
import type { ChatActions, RoomEntry } from "../../store/view";
import { Hint } from "../widgets/Hint";
import { Account } from "./Account";
import { OpenRoom } from "./OpenRoom";
import { RoomList } from "./RoomList";

type Props = {
  chat: ChatActions;
  rooms: readonly RoomEntry[];
  me: Me;
  onChoose: () => void;
};

/** The rooms, who is logged in, and the log-out button. */
export function Sidebar({ chat, rooms, me, onChoose }: Props) {
  const [isOpening, setOpening] = useState(false);
  return (
    <div className="side">
      <div className="side-title">
        <img src="/icon.svg" alt="" width="26" height="26" />
        <span>Chat</span>
        <Hint text="Open a room">
          <button
            type="button"
            className="icon-button"
            aria-label="Open a room"
            onClick={() => setOpening(true)}
          >
            <Plus size={18} aria-hidden="true" />
          </button>
        </Hint>
      </div>
      <RoomList chat={chat} rooms={rooms} onChoose={onChoose} />
      <Account chat={chat} me={me} />
      {isOpening && <OpenRoom isAdmin={me.isAdmin} onClose={() => setOpening(false)} />}
    </div>
  );
}
