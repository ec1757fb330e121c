import { CircleAlert, Lock, MessageCircle, SearchX } from "lucide-react";
import type { ReactNode } from "react";
import { type Place, ROOM_NAME_RULE, writeAddress } from "../../model/place";

const HOME = writeAddress({ realm: "chat", room: "general" });

/** The room is loading. */
export function Loading() {
  return (
    <div className="notice-frame" aria-busy="true">
      <p className="visually-hidden">Loading messages…</p>
      <div className="skeleton column" aria-hidden="true">
        <span />
        <span />
        <span />
        <span />
      </div>
    </div>
  );
}

/** The room is loaded, and has no messages. */
export function Empty({ room, mayWrite }: { room: string; mayWrite: boolean }) {
  return (
    <Notice kind="empty" icon={<MessageCircle size={36} />} title="No messages yet">
      <p>
        {mayWrite ? "Write the first one in " : "Nobody has written in "}
        <bdi>{room}</bdi>.
      </p>
    </Notice>
  );
}

/** History could not be read. */
export function Failed({ problem, onRetry }: { problem: string | null; onRetry: () => void }) {
  return (
    <Notice kind="failed" icon={<CircleAlert size={36} />} title="History is unavailable">
      <p>{problem}</p>
      <button type="button" className="button" onClick={onRetry}>
        Retry
      </button>
    </Notice>
  );
}

/** This person may not read here. */
export function Forbidden({ realm }: Pick<Place, "realm">) {
  const title = realm === "admin" ? "This room is for admins" : "You may not read this room";
  return (
    <Notice kind="forbidden" icon={<Lock size={36} />} title={title}>
      <p>An admin can give your account the right to it. The room then opens by itself.</p>
      <a className="button" href={HOME}>
        Go to general
      </a>
    </Notice>
  );
}

/** The address is not valid. */
export function Invalid() {
  return (
    <Notice kind="invalid" icon={<SearchX size={36} />} title="There is no such room">
      <p>{ROOM_NAME_RULE}</p>
      <a className="button" href={HOME}>
        Go to general
      </a>
    </Notice>
  );
}

/** A part of the page failed to render. */
export function Broken() {
  return (
    <Notice kind="failed" icon={<CircleAlert size={36} />} title="This part of the page failed">
      <p>The rest still works. A reload may bring this back.</p>
      <button type="button" className="button" onClick={() => location.reload()}>
        Reload the page
      </button>
    </Notice>
  );
}

type NoticeProps = { kind: string; icon: ReactNode; title: string; children: ReactNode };

function Notice({ kind, icon, title, children }: NoticeProps) {
  return (
    <div className="notice" data-kind={kind}>
      <span aria-hidden="true">{icon}</span>
      <h2>{title}</h2>
      {children}
    </div>
  );
}
