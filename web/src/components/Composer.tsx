import { SendHorizontal } from "lucide-react";
import { type KeyboardEvent, memo, type Ref, useEffect, useRef } from "react";
import type { Place } from "../place";
import { type ChatActions, MAX_TEXT } from "../view";
import { isVisible } from "../visible";
import { useAutosize } from "./useAutosize";
import { useDraft } from "./useDraft";
import { focusUnasked } from "./useWritingKeys";

type Props = {
  chat: ChatActions;
  place: Place;
  onSent: () => void;
  ref: Ref<HTMLTextAreaElement>;
};

/** The counter shows when this many characters are left. */
const NEAR_LIMIT = 400;

/** Where one writes. What stands in it is kept as the room's draft. */
export const Composer = memo(function Composer({ chat, place, onSent, ref }: Props) {
  const [text, setText, change] = useDraft(chat, place);
  const field = useRef<HTMLTextAreaElement>(null);
  useAutosize(field, text);

  useEffect(() => focusUnasked(field.current), []);

  const left = MAX_TEXT - (text.length > MAX_TEXT - NEAR_LIMIT ? [...text].length : text.length);
  const canSend = left >= 0 && isVisible(text);

  const send = () => {
    if (!canSend || !chat.send(place, text)) return;
    // The draft stays until the message is written down: a reload may come before that.
    setText("");
    onSent();
    field.current?.focus();
  };

  const onKeyDown = (event: KeyboardEvent) => {
    // While an input method composes, Enter chooses a word.
    if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
    event.preventDefault();
    send();
  };

  return (
    <form
      className="composer column"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <div className="composer-box">
        <textarea
          ref={(element) => {
            field.current = element;
            if (typeof ref === "function") ref(element);
            else if (ref) ref.current = element;
          }}
          rows={1}
          aria-label="Message"
          placeholder={`Message ${shortened(place.room)}`}
          enterKeyHint="send"
          dir="auto"
          value={text}
          onChange={(event) => change(event.target.value)}
          onKeyDown={onKeyDown}
        />
        <button type="submit" className="icon-button send" aria-label="Send" disabled={!canSend}>
          <SendHorizontal size={18} aria-hidden="true" />
        </button>
      </div>
      <div className="composer-foot">
        <span className="composer-hint">
          <kbd>Enter</kbd> to send, <kbd>Shift+Enter</kbd> for a new line
        </span>
        {left < NEAR_LIMIT && (
          <span data-kind={left < 0 ? "danger" : undefined}>
            {left < 0 ? `${characters(-left)} too many` : `${characters(left)} left`}
          </span>
        )}
      </div>
    </form>
  );
});

function characters(count: number): string {
  return count === 1 ? "1 character" : `${count} characters`;
}

/** A placeholder wraps as text does, and would make an empty field two lines high. */
function shortened(room: string): string {
  return room.length > LONGEST_NAME ? `${room.slice(0, LONGEST_NAME - 1)}…` : room;
}

const LONGEST_NAME = 20;
