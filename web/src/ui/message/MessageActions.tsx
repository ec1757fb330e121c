import { Check, Copy, Link2, Trash2 } from "lucide-react";
import { useEffect, useRef, useState } from "react";
import type { Entry } from "../../model/message";
import { type Place, writeAddress } from "../../model/place";
import { Hint } from "../widgets/Hint";
import { copy } from "./copy";
import { useInside } from "./useInside";

const SHOWN_MS = 1_600;

type Props = {
  place: Place;
  entry: Entry;
  /** Whether Tab reaches the actions: those of the focused message, not of the hovered one. */
  isTabStop: boolean;
  /** Discards a message that is not sent yet; null if it is sent, or the button is below it. */
  onDiscard: (() => void) | null;
};

/** The actions of a message: copy its text, copy a link to it, discard it. */
export function MessageActions({ place, entry, isTabStop, onDiscard }: Props) {
  const { at } = entry;
  const tabIndex = isTabStop ? 0 : -1;
  const box = useRef<HTMLDivElement>(null);
  useInside(box);
  return (
    <div ref={box} className="actions">
      <CopyButton label="Copy text" Icon={Copy} text={() => entry.text} tabIndex={tabIndex} />
      {at && (
        <CopyButton
          label="Copy link"
          Icon={Link2}
          text={() => linkTo(place, at)}
          tabIndex={tabIndex}
        />
      )}
      {onDiscard && (
        <Hint text="Discard">
          <button
            type="button"
            className="icon-button"
            tabIndex={tabIndex}
            aria-label="Discard"
            onClick={onDiscard}
          >
            <Trash2 size={16} aria-hidden="true" />
          </button>
        </Hint>
      )}
    </div>
  );
}

type CopyProps = { label: string; Icon: typeof Copy; text: () => string; tabIndex: number };

function CopyButton({ label, Icon, text, tabIndex }: CopyProps) {
  const [isDone, setDone] = useState(false);
  useEffect(() => {
    if (!isDone) return;
    const timer = setTimeout(() => setDone(false), SHOWN_MS);
    return () => clearTimeout(timer);
  }, [isDone]);
  const Sign = isDone ? Check : Icon;
  return (
    <Hint text={label}>
      <button
        type="button"
        className="icon-button"
        tabIndex={tabIndex}
        aria-label={isDone ? "Copied" : label}
        onClick={async () => setDone(await copy(text()))}
      >
        <Sign size={16} aria-hidden="true" />
      </button>
    </Hint>
  );
}

function linkTo(place: Place, at: NonNullable<Entry["at"]>): string {
  return new URL(writeAddress(place, at), location.href).href;
}
