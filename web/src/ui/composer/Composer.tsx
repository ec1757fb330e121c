import { SendHorizontal } from "lucide-react";
import {
  type KeyboardEvent,
  type MouseEvent,
  memo,
  type Ref,
  useEffect,
  useLayoutEffect,
  useRef,
} from "react";
import type { Place } from "../../model/place";
import { MAX_TEXT } from "../../model/text";
import { isVisible } from "../../model/visible";
import type { ChatActions } from "../../store/view";
import { useIsTouch } from "../widgets/useIsTouch";
import { sends } from "./sends";
import { useAutosize } from "./useAutosize";
import { useDraft } from "./useDraft";
import { focusUnasked } from "./useWritingKeys";

type Props = {
  chat: ChatActions;
  place: Place;
  onSent: () => void;
  /** The text is another one, and the field perhaps of another height. */
  onChanged: () => void;
  ref: Ref<HTMLTextAreaElement>;
};

/** The counter shows when this many characters are left. */
const NEAR_LIMIT = 400;

/** Where one writes. What stands in it is kept as the room's draft. */
export const Composer = memo(function Composer({ chat, place, onSent, onChanged, ref }: Props) {
  const [text, setText, change] = useDraft(chat, place);
  const field = useRef<HTMLTextAreaElement>(null);
  useAutosize(field, text);

  // At once: of a field that shrinks and grows again before a frame is drawn nobody else would hear,
  // and the list has lost its end then as if its reader had scrolled.
  // biome-ignore lint/correctness/useExhaustiveDependencies: each text has its height.
  useLayoutEffect(onChanged, [onChanged, text]);

  const isTouch = useIsTouch();

  useEffect(() => focusUnasked(field.current), []);

  const left = MAX_TEXT - (text.length > MAX_TEXT - NEAR_LIMIT ? [...text].length : text.length);
  const canSend = left >= 0 && isVisible(text);

  const send = () => {
    if (!canSend || !chat.send(place, text)) return;
    // The draft stays until the message is written down: a reload may come before that.
    setText("");
    onSent();
    // Whoever closed the phone's keyboard to send does not want it back.
    if (!isTouch) field.current?.focus();
  };

  const onKeyDown = (event: KeyboardEvent) => {
    if (!sends(event.nativeEvent, isTouch)) return;
    event.preventDefault();
    send();
  };

  /** The button takes no focus: the field keeps it, and with it the phone's keyboard. */
  const onMouseDown = (event: MouseEvent) => {
    if (event.target !== field.current) event.preventDefault();
  };

  return (
    <form
      className="composer column"
      onMouseDown={onMouseDown}
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
          enterKeyHint={isTouch ? "enter" : "send"}
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
          {isTouch ? (
            <>
              <kbd>Enter</kbd> for a new line, <kbd>Ctrl+Enter</kbd> to send
            </>
          ) : (
            <>
              <kbd>Enter</kbd> to send, <kbd>Shift+Enter</kbd> for a new line
            </>
          )}
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
