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
  /** The text has changed, and perhaps the height of the field. */
  onChanged: () => void;
  ref: Ref<HTMLTextAreaElement>;
};

/** The counter shows when this many characters are left. */
const NEAR_LIMIT = 400;

/** The text field. Its text is kept as the room's draft. */
export const Composer = memo(function Composer({ chat, place, onSent, onChanged, ref }: Props) {
  const [text, setText, change] = useDraft(chat, place);
  const field = useRef<HTMLTextAreaElement>(null);
  useAutosize(field, text);

  // In a layout effect: if the field shrinks and grows again within a frame, no observer reports it,
  // and the list has lost its end as if its reader had scrolled.
  // biome-ignore lint/correctness/useExhaustiveDependencies: each text has its height.
  useLayoutEffect(onChanged, [onChanged, text]);

  const isTouch = useIsTouch();

  useEffect(() => focusUnasked(field.current), []);

  const left = MAX_TEXT - (text.length > MAX_TEXT - NEAR_LIMIT ? [...text].length : text.length);
  const canSend = left >= 0 && isVisible(text);

  const send = () => {
    if (!canSend || !chat.send(place, text)) return;
    // The draft is kept until the message is stored: a reload may come before that.
    setText("");
    onSent();
    // On a phone a keyboard that was closed must stay closed.
    if (!isTouch) field.current?.focus();
  };

  const onKeyDown = (event: KeyboardEvent) => {
    if (!sends(event.nativeEvent, isTouch)) return;
    event.preventDefault();
    send();
  };

  /** Keeps the focus in the field when the button is pressed, and so the phone's keyboard open. */
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

/** A long placeholder would wrap and make an empty field two lines high. */
function shortened(room: string): string {
  return room.length > LONGEST_NAME ? `${room.slice(0, LONGEST_NAME - 1)}…` : room;
}

const LONGEST_NAME = 20;
