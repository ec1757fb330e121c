import type { Mark } from "../rows";

/** What stands between two messages: a new day, the first unread one, something missing. */
export function Marks({ marks, onRetry }: { marks: readonly Mark[]; onRetry: () => void }) {
  return marks.map((mark) => {
    switch (mark.kind) {
      case "day":
        return (
          <div key="day" className="column">
            <h2 className="day">{mark.label}</h2>
          </div>
        );
      case "new":
        return (
          <div key="new" className="column">
            <p className="new-messages">New messages</p>
          </div>
        );
      default:
        return (
          <div key="gap" className="column">
            <p className="gap" data-state={mark.state}>
              {mark.state === "loading" ? (
                "Loading messages that are missing here…"
              ) : (
                <>
                  Messages are missing here.
                  <button type="button" className="link-button" onClick={onRetry}>
                    Retry
                  </button>
                </>
              )}
            </p>
          </div>
        );
    }
  });
}
