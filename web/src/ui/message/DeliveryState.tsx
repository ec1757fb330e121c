import { CircleAlert, Clock } from "lucide-react";
import type { Entry } from "../../model/message";
import type { ChatActions } from "../../store/view";
import { Countdown } from "../widgets/Countdown";

type Props = {
  chat: ChatActions;
  entry: Entry;
  /** The number of waiting messages that this one speaks for; 0 if another one does. */
  waiting: number;
};

/** The delivery state of the person's own message; nothing once it is sent. */
export function DeliveryState({ chat, entry, waiting }: Props) {
  const { delivery } = entry;
  switch (delivery.state) {
    case "sent":
      return null;
    case "sending":
      return (
        <p className="delivery" data-state="sending" data-routine={!delivery.problem || undefined}>
          {delivery.problem ? `${delivery.problem} Trying again…` : "Sending…"}
        </p>
      );
    case "queued":
      if (delivery.problem === null && waiting === 0) return null;
      return (
        <div className="delivery" data-state="queued" data-routine={!delivery.problem || undefined}>
          <Clock size={14} aria-hidden="true" />
          {delivery.problem ?? "Waiting to be sent"}
          {delivery.until !== null && <Countdown until={delivery.until} />}
          {waiting <= 1 && <Discard chat={chat} entry={entry} />}
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

function Discard({ chat, entry }: Pick<Props, "chat" | "entry">) {
  return (
    <button type="button" className="link-button" onClick={() => chat.discard(entry.id)}>
      Discard
    </button>
  );
}
