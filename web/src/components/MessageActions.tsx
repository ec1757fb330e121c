import { Check, Copy, Link2 } from "lucide-react";
import { useEffect, useState } from "react";
import { copy } from "../copy";
import { type Place, writeAddress } from "../place";
import type { Entry } from "../view";
import { Hint } from "./Hint";

const SHOWN_MS = 1_600;

/** What one can do with a message: copy its text, copy a link to it. */
export function MessageActions({ place, entry }: { place: Place; entry: Entry }) {
  const { at } = entry;
  return (
    <div className="actions">
      <CopyButton label="Copy text" Icon={Copy} text={() => entry.text} />
      {at && <CopyButton label="Copy link" Icon={Link2} text={() => linkTo(place, at)} />}
    </div>
  );
}

type CopyProps = { label: string; Icon: typeof Copy; text: () => string };

function CopyButton({ label, Icon, text }: CopyProps) {
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
