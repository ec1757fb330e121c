import { CircleAlert, Clock } from "lucide-react";
import { useEffect, useState } from "react";
import type { ChatActions, Entry } from "../view";

type Props = { chat: ChatActions; entry: Entry };

/** Where a message of one's own is on its way; nothing once it has arrived. */
export function DeliveryState({ chat, entry }: Props) {
  const { delivery } = entry;
  switch (delivery.state) {
    case "sent":
      return null;
    case "sending":
      return (
        <p className="delivery" data-state="sending">
          Sending…
        </p>
      );
    case "queued":
      return (
        <div className="delivery" data-state="queued">
          <Clock size={14} aria-hidden="true" />
          {delivery.problem ?? "Waiting to be sent"}
          {delivery.until !== null && <Countdown until={delivery.until} />}
          <Discard chat={chat} entry={entry} />
        </div>
      );
    case "failed":
      return (
        <div className="delivery" data-state="failed">
          <CircleAlert size={14} aria-hidden="true" />
          Not sent. {delivery.reason}
          <button type="button" className="link-button" onClick={() => chat.retry(entry.id)}>
            Retry
          </button>
          <Discard chat={chat} entry={entry} />
        </div>
      );
  }
}

function Discard({ chat, entry }: Props) {
  return (
    <button type="button" className="link-button" onClick={() => chat.discard(entry.id)}>
      Discard
    </button>
  );
}

/** How long it still waits; hidden from screen readers, which would read out each second. */
function Countdown({ until }: { until: number }) {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 500);
    return () => clearInterval(timer);
  }, []);
  const seconds = Math.ceil((until - now) / 1000);
  return seconds > 0 ? <span aria-hidden="true"> · next try in {seconds} s</span> : null;
}
