import { memo, useState } from "react";
import type { Entry } from "../../model/message";
import { type Place, writeAddress } from "../../model/place";
import { shownName } from "../../model/visible";
import type { ChatActions } from "../../store/view";
import { Avatar } from "../widgets/Avatar";
import { momentOf, shortTimeOf, timeOf } from "./clock";
import { DeliveryState } from "./DeliveryState";
import { Fold } from "./Fold";
import { MessageActions } from "./MessageActions";
import { MessageText } from "./MessageText";

type Props = {
  chat: ChatActions;
  place: Place;
  entry: Entry;
  isFirst: boolean;
  waiting: number;
  /** The one message that Tab reaches; arrow keys move to the others. */
  isCurrent: boolean;
  /** Whether a permalink led here. */
  isTarget: boolean;
  /** Called before the message is folded or unfolded. */
  onFold: () => void;
};

/** A message. Its actions appear on hover and on focus. */
export const MessageRow = memo(function MessageRow(props: Props) {
  const { chat, place, entry, isFirst, waiting, isCurrent, isTarget, onFold } = props;
  const [isPointed, setPointed] = useState(false);
  const [isFocused, setFocused] = useState(false);
  const isActive = isPointed || isFocused;
  const time = (
    <Time
      place={place}
      entry={entry}
      isShort={!isFirst}
      isActive={isActive}
      isTabStop={isCurrent && isFocused}
    />
  );
  return (
    <article
      className="message"
      data-key={entry.key}
      data-first={isFirst || undefined}
      data-state={entry.delivery.state}
      data-pointed={isPointed || undefined}
      data-active={isActive || undefined}
      data-target={isTarget || undefined}
      tabIndex={isCurrent ? 0 : -1}
      // Only if the mouse moves: in a busy room messages scroll past a resting pointer.
      onPointerMove={({ pointerType, movementX, movementY }) => {
        if (pointerType === "mouse" && (movementX !== 0 || movementY !== 0)) setPointed(true);
      }}
      onPointerLeave={() => setPointed(false)}
      onFocus={() => setFocused(true)}
      onBlur={(event) => setFocused(event.currentTarget.contains(event.relatedTarget))}
    >
      {isFirst ? (
        <Avatar uid={entry.uid} name={entry.name} />
      ) : (
        <span className="gutter">{isActive && time}</span>
      )}
      <div className="body">
        {isFirst && (
          <div className="author">
            <bdi>{shownName(entry.name)}</bdi>
            {/* A back end wrote it, whatever name it gives: nobody has logged in. */}
            {entry.uid === "" && <span className="app-mark">App</span>}
            {time}
          </div>
        )}
        <Fold id={entry.key} text={entry.text} onToggle={onFold}>
          <MessageText text={entry.text} />
        </Fold>
        <DeliveryState chat={chat} entry={entry} waiting={waiting} />
      </div>
      {isActive && (
        <MessageActions
          place={place}
          entry={entry}
          isTabStop={isFocused}
          onDiscard={isOneOfMany(entry, waiting) ? () => chat.discard(entry.id) : null}
        />
      )}
    </article>
  );
});

/** It waits with others: the text below the last one speaks for all of them. */
function isOneOfMany({ delivery }: Entry, waiting: number): boolean {
  return delivery.state === "queued" && delivery.problem === null && waiting !== 1;
}

type TimeProps = {
  place: Place;
  entry: Entry;
  /** For the gutter, which is only as wide as an avatar. */
  isShort: boolean;
  isActive: boolean;
  isTabStop: boolean;
};

/** The time of a message, which links to it once it is in the log. */
function Time({ place, entry, isShort, isActive, isTabStop }: TimeProps) {
  // Formatting a full date takes longer than rendering a message: only on hover or focus.
  const title = isActive ? momentOf(entry.timestamp) : undefined;
  const time = (
    <time dateTime={isoOf(entry.timestamp)} title={title}>
      {isShort ? shortTimeOf(entry.timestamp) : timeOf(entry.timestamp)}
    </time>
  );
  if (!entry.at) return time;
  return (
    <a className="time-link" href={writeAddress(place, entry.at)} tabIndex={isTabStop ? 0 : -1}>
      {time}
    </a>
  );
}

function isoOf(timestamp: number): string | undefined {
  const date = new Date(timestamp);
  return Number.isNaN(date.getTime()) ? undefined : date.toISOString();
}
