import { type Ref, useEffect, useImperativeHandle, useMemo, useRef } from "react";
import type { ChatActions, RoomView } from "../../store/view";
import { MessageRow } from "../message/MessageRow";
import { rowsOf } from "../message/rows";
import { useLeaving } from "../scroll/useLeaving";
import { type Scroll, useScroll } from "../scroll/useScroll";
import { Empty, Failed, Loading } from "../widgets/RoomNotice";
import { JumpButton } from "./JumpButton";
import { ListTop } from "./ListTop";
import { Marks } from "./Marks";
import { useArrivals } from "./useArrivals";
import { useHeads } from "./useHeads";
import { useMessageKeys } from "./useMessageKeys";
import { useReading } from "./useReading";
import { useToday } from "./useToday";

/** What other components may do with the list. */
export type MessageListHandle = Pick<Scroll, "toNewest" | "keepEnd">;

type Props = { chat: ChatActions; room: RoomView; onJump: () => void; ref: Ref<MessageListHandle> };

/** Older messages are loaded when the view is this many messages from the first. */
const AHEAD = 12;

/** A room's messages. Only those near the view are in the document. */
export function MessageList({ chat, room, onJump, ref }: Props) {
  const frame = useRef<HTMLDivElement>(null);
  const heads = useHeads(room.entries);
  const today = useToday();
  const { entries, dividerBefore, gap, older } = room;
  const { above, rows } = useMemo(
    () => rowsOf({ entries, dividerBefore, gap }, heads, today),
    [entries, dividerBefore, gap, heads, today],
  );
  const scroll = useScroll(frame, rows, room);
  useLeaving(chat, room.place, entries, frame, scroll.isPlaced);
  const keys = useMessageKeys(rows, scroll);
  const hasArrived = useArrivals(room, scroll.items);

  const { toNewest, keepEnd } = scroll;
  useImperativeHandle(ref, () => ({ toNewest, keepEnd }), [toNewest, keepEnd]);
  useReading(chat, room.place, entries.length, room.phase === "ready" && scroll.isAtEnd);

  const { isPlaced, isAtEnd } = scroll;
  // biome-ignore lint/correctness/useExhaustiveDependencies: each new message may exceed the limit of rows.
  useEffect(() => {
    if (isPlaced) chat.setAtEnd(room.place, isAtEnd);
  }, [chat, room.place, entries.length, isPlaced, isAtEnd]);

  const retry = () => chat.retryHistory();
  const wantsOlder = scroll.isPlaced && scroll.first < AHEAD && older.state === "some";
  // biome-ignore lint/correctness/useExhaustiveDependencies: if a page loads within one frame, only `entries` changes.
  useEffect(() => {
    if (wantsOlder) chat.loadOlder();
  }, [chat, wantsOlder, older, entries]);

  return (
    <div className="log-frame">
      <div
        ref={frame}
        className="log"
        role="log"
        aria-label={room.place.room}
        aria-busy={room.phase === "loading"}
        onKeyDown={keys.onKeyDown}
      >
        <Nothing room={room} onRetry={retry} />
        {entries.length > 0 && (
          <div className="log-space" style={{ height: scroll.height }}>
            <ListTop room={room} marks={above} onRetry={retry} />
            {scroll.items.map(({ index, start }) => {
              const row = rows[index];
              if (!row) return null;
              const { key } = row.entry;
              return (
                <div
                  key={key}
                  ref={scroll.measure}
                  data-index={index}
                  className="log-row"
                  // Scrolling and older pages add rows too; only arrivals are announced.
                  aria-live={hasArrived(key) ? undefined : "off"}
                  style={{ transform: `translateY(${start}px)` }}
                >
                  <div className="column">
                    <MessageRow
                      chat={chat}
                      place={room.place}
                      entry={row.entry}
                      isFirst={row.isFirst}
                      waiting={row.waiting}
                      isCurrent={key === keys.current}
                      isTarget={key === scroll.target}
                      onFold={scroll.stay}
                    />
                  </div>
                  <Marks marks={row.below} />
                </div>
              );
            })}
          </div>
        )}
      </div>
      {scroll.isPlaced && !scroll.isAtEnd && (
        <JumpButton
          unread={room.unread}
          onJump={() => {
            scroll.toNewest();
            onJump();
          }}
        />
      )}
    </div>
  );
}

/** Why no message is shown; each reason looks different. */
function Nothing({ room, onRetry }: { room: RoomView; onRetry: () => void }) {
  if (room.entries.length > 0) return null;
  switch (room.phase) {
    case "loading":
      return <Loading />;
    case "failed":
      return <Failed problem={room.problem} onRetry={onRetry} />;
    default:
      return <Empty room={room.place.room} mayWrite={room.mayWrite} />;
  }
}
