import type { Mark } from "../message/rows";

/** The marks between two messages: a new day, new messages, a gap. */
export function Marks({ marks }: { marks: readonly Mark[] }) {
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
              {/* The banner above the list says what to do. */}
              {mark.state === "loading"
                ? "Looking for messages that may be missing here…"
                : "Messages may be missing here."}
            </p>
          </div>
        );
    }
  });
}
