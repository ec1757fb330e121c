import { LogOut, Plus } from "lucide-react";
import { memo, useState } from "react";
import type { ChatActions, Me, RoomEntry } from "../view";
import { Avatar } from "./Avatar";
import { Hint } from "./Hint";
import { OpenRoom } from "./OpenRoom";
import { Rooms } from "./Rooms";
import { ThemeMenu } from "./ThemeMenu";

type Props = {
  chat: ChatActions;
  rooms: readonly RoomEntry[];
  me: Me;
  onChoose: () => void;
};

/** The rooms, who is logged in, and the way out. */
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
      <Rooms chat={chat} rooms={rooms} onChoose={onChoose} />
      <Account chat={chat} me={me} />
      {isOpening && <OpenRoom isAdmin={me.isAdmin} onClose={() => setOpening(false)} />}
    </div>
  );
}

const Account = memo(function Account({ chat, me }: Pick<Props, "chat" | "me">) {
  return (
    <div className="me">
      <Avatar uid={me.uid} name={me.name} />
      <div className="who">
        <bdi>{me.name}</bdi>
        <span className="role">{role(me)}</span>
      </div>
      <ThemeMenu />
      <Hint text="Log out">
        <button
          type="button"
          className="icon-button"
          aria-label="Log out"
          onClick={() => chat.logOut()}
        >
          <LogOut size={18} aria-hidden="true" />
        </button>
      </Hint>
    </div>
  );
});

function role(me: Me): string {
  if (me.isAdmin) return "Admin";
  return me.mayWrite ? "Member" : "Reads only";
}
