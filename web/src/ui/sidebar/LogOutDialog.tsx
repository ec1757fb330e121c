import { Dialog } from "../widgets/Dialog";

type Props = { unsent: number; onStay: () => void; onLogOut: () => void };

/** Asks before a log-out with unsent messages, and says what happens to them. */
export function LogOutDialog({ unsent, onStay, onLogOut }: Props) {
  return (
    <Dialog label="Log out?" className="dialog" onClose={onStay}>
      <div className="dialog-body">
        <h2>Log out?</h2>
        <p>{waiting(unsent)} until you log in here again.</p>
        <div className="actions-row">
          <button type="button" className="button" onClick={onStay}>
            Stay
          </button>
          <button type="button" className="button" data-kind="primary" onClick={onLogOut}>
            Log out
          </button>
        </div>
      </div>
    </Dialog>
  );
}

function waiting(unsent: number): string {
  return unsent === 1
    ? "1 message is not sent yet. It waits in this browser"
    : `${unsent} messages are not sent yet. They wait in this browser`;
}
