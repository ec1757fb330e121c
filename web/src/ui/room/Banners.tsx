import { CircleAlert, Clock, CloudOff, HardDrive, SearchX, X } from "lucide-react";
import { writeAddress } from "../../model/place";
import type { LinkView, UnsentView } from "../../store/view";
import { Countdown } from "../widgets/Countdown";

type Props = { link: LinkView; queued: number; onReconnect: () => void };

/** While offline: messages wait here, with a button to reconnect now. */
export function LinkBanner({ link, queued, onReconnect }: Props) {
  if (link.state !== "offline") return null;
  return (
    <div className="banner">
      <CloudOff size={18} aria-hidden="true" />
      <p>
        <strong>{link.why?.kind === "sign-in-away" ? link.why.message : "You are offline."}</strong>{" "}
        {waiting(queued)}
      </p>
      <button type="button" className="link-button" onClick={onReconnect}>
        Try now
      </button>
    </div>
  );
}

/** Why a message of another room is not sent, which may block those of this one. */
export function UnsentBanner({ place, delivery }: NonNullable<UnsentView["elsewhere"]>) {
  if (delivery.state === "sent") return null;
  const isRefused = delivery.state === "failed";
  const Icon = isRefused ? CircleAlert : Clock;
  return (
    <div className="banner" data-kind={isRefused ? "danger" : undefined}>
      <Icon size={18} aria-hidden="true" />
      <p>
        <strong>
          A message in <bdi>{place.room}</bdi> {isRefused ? "was not sent." : "is not sent yet."}
        </strong>{" "}
        {isRefused ? delivery.reason : delivery.problem}
        {delivery.state === "queued" && delivery.until !== null && (
          <Countdown until={delivery.until} />
        )}
      </p>
      <a className="banner-link" href={writeAddress(place)}>
        Show it
      </a>
    </div>
  );
}

/** History failed, but some messages are shown. */
export function HistoryBanner({ problem, onRetry }: { problem: string; onRetry: () => void }) {
  return (
    <div className="banner" data-kind="danger">
      <CircleAlert size={18} aria-hidden="true" />
      <p>
        <strong>History is unavailable.</strong> {problem}
      </p>
      <button type="button" className="link-button" onClick={onRetry}>
        Retry
      </button>
    </div>
  );
}

/** The browser blocks site data, so drafts and unsent messages are not kept. */
export function ForgetfulBanner({ onClose }: { onClose: () => void }) {
  return (
    <div className="banner">
      <HardDrive size={18} aria-hidden="true" />
      <p>
        <strong>This browser keeps nothing for this page.</strong> Drafts and messages that are not
        sent are gone when it is closed or reloaded. Allow it to keep cookies and site data.
      </p>
      <button type="button" className="icon-button" aria-label="Close" onClick={onClose}>
        <X size={16} aria-hidden="true" />
      </button>
    </div>
  );
}

/** The message of a permalink was not found. */
export function TargetBanner({ said, onClose }: { said: string; onClose: () => void }) {
  return (
    <div className="banner">
      <SearchX size={18} aria-hidden="true" />
      <p>{said}</p>
      <button type="button" className="icon-button" aria-label="Close" onClick={onClose}>
        <X size={16} aria-hidden="true" />
      </button>
    </div>
  );
}

function waiting(queued: number): string {
  if (queued === 0) return "What you write waits here until the connection is back.";
  const messages = queued === 1 ? "1 message waits" : `${queued} messages wait`;
  return `${messages} here and will be sent when the connection is back.`;
}
