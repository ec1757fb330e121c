import { type FormEvent, useId, useState } from "react";
import { isToken, ROOM_NAME_RULE, writeAddress } from "../../model/place";
import { Dialog } from "../widgets/Dialog";

/** The dialog that opens any room by its name. A room exists once somebody writes in it. */
export function OpenRoom({ isAdmin, onClose }: { isAdmin: boolean; onClose: () => void }) {
  const [name, setName] = useState("");
  const [forAdmins, setForAdmins] = useState(false);
  const rule = useId();
  const room = name.trim().replace(/^#/u, "");
  const isWrong = room !== "" && !isToken(room);

  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (!isToken(room)) return;
    location.hash = writeAddress({ realm: forAdmins ? "admin" : "chat", room });
    onClose();
  };

  return (
    <Dialog label="Open a room" className="dialog" onClose={onClose}>
      <form onSubmit={submit}>
        <h2>Open a room</h2>
        <div className="field">
          <label htmlFor="room-name">Room name</label>
          <input
            id="room-name"
            value={name}
            maxLength={80}
            autoCapitalize="none"
            autoComplete="off"
            spellCheck={false}
            aria-describedby={rule}
            aria-invalid={isWrong}
            onChange={(event) => setName(event.target.value)}
          />
          <p className="hint" id={rule} data-kind={isWrong ? "danger" : undefined}>
            {ROOM_NAME_RULE} A room begins with its first message.
          </p>
        </div>
        {isAdmin && (
          <label className="check-field">
            <input
              type="checkbox"
              checked={forAdmins}
              onChange={(event) => setForAdmins(event.target.checked)}
            />
            For admins only
          </label>
        )}
        <div className="actions-row">
          <button type="button" className="button" onClick={onClose}>
            Cancel
          </button>
          <button
            type="submit"
            className="button"
            data-kind="primary"
            disabled={room === "" || isWrong}
          >
            Open
          </button>
        </div>
      </form>
    </Dialog>
  );
}
