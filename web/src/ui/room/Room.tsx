import { useCallback, useRef, useState } from "react";
import { placeKey } from "../../model/place";
import type { ChatActions, ChatView } from "../../store/view";
import { Composer } from "../composer/Composer";
import { ReadOnly } from "../composer/ReadOnly";
import { focusUnasked, useWritingKeys } from "../composer/useWritingKeys";
import { MessageList, type MessageListHandle } from "../list/MessageList";
import { Forbidden, Invalid } from "../widgets/RoomNotice";
import { ForgetfulBanner, HistoryBanner, LinkBanner, TargetBanner, UnsentBanner } from "./Banners";
import { RoomHeader } from "./RoomHeader";

type Props = {
  chat: ChatActions;
  view: ChatView;
  /** Opens the drawer with the rooms; null if they are shown beside this. */
  onShowRooms: (() => void) | null;
};

/** The open room: header, messages, composer. */
export function Room({ chat, view, onShowRooms }: Props) {
  const { room, link } = view;
  const { elsewhere } = view.unsent;
  const list = useRef<MessageListHandle>(null);
  const composer = useRef<HTMLTextAreaElement>(null);
  const toNewest = useCallback(() => list.current?.toNewest(), []);
  const keepEnd = useCallback(() => list.current?.keepEnd(), []);

  // The clicked button disappears: without this the focus would be lost.
  const focusField = useCallback(() => focusUnasked(composer.current), []);
  useWritingKeys(composer, toNewest);

  // The token of the permalink whose banner was closed.
  const [closed, setClosed] = useState<number | null>(null);
  const missing = room?.target?.state === "missing" ? room.target : null;

  const [isAcknowledged, setAcknowledged] = useState(false);

  const key = room ? placeKey(room.place) : "";
  const isOpen = room !== null && room.phase !== "forbidden" && room.phase !== "invalid";
  return (
    <main className="room">
      <RoomHeader
        place={room?.place ?? null}
        link={link}
        unread={view.rooms.some((other) => other.unread > 0 && !other.isOpen)}
        onShowRooms={onShowRooms}
      />
      <LinkBanner link={link} queued={view.unsent.queued} onReconnect={() => chat.reconnectNow()} />
      {!view.outlives && !isAcknowledged && (
        <ForgetfulBanner
          onClose={() => {
            setAcknowledged(true);
            focusField();
          }}
        />
      )}
      {elsewhere && link.state !== "offline" && <UnsentBanner {...elsewhere} />}
      {room?.phase === "forbidden" && <Forbidden realm={room.place.realm} />}
      {room?.phase === "invalid" && <Invalid />}
      {isOpen && room.entries.length > 0 && room.problem !== null && link.state !== "offline" && (
        <HistoryBanner problem={room.problem} onRetry={() => chat.retryHistory()} />
      )}
      {missing && missing.token !== closed && (
        <TargetBanner
          said={missing.said}
          onClose={() => {
            setClosed(missing.token);
            focusField();
          }}
        />
      )}
      {isOpen && <MessageList key={key} ref={list} chat={chat} room={room} onJump={focusField} />}
      {isOpen && (
        <div className="composer-frame">
          {room.mayWrite ? (
            <Composer
              key={key}
              ref={composer}
              chat={chat}
              place={room.place}
              onSent={toNewest}
              onChanged={keepEnd}
            />
          ) : (
            <ReadOnly realm={room.place.realm} />
          )}
        </div>
      )}
    </main>
  );
}
