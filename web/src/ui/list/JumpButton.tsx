import { ArrowDown } from "lucide-react";

/** The button back to the newest message, with the number of unread ones. */
export function JumpButton({ unread, onJump }: { unread: number; onJump: () => void }) {
  return (
    <button type="button" className="button jump" onClick={onJump}>
      <ArrowDown size={16} aria-hidden="true" />
      <span className="label">Jump to newest</span>
      {unread > 0 && (
        <span className="badge">
          {unread}
          <span className="visually-hidden"> unread</span>
        </span>
      )}
    </button>
  );
}
