import { type FocusEvent, type ReactNode, useLayoutEffect, useRef, useState } from "react";

/** A taller text is folded to the height in `messages.css`, about twenty lines. */
const TALL_PX = 480;

/** Unfolded messages stay so when they are scrolled back into view, or their room is reopened. */
const unfolded = new Set<string>();

type Props = {
  /** Identifies the message, until the page is reloaded. */
  id: string;
  text: string;
  /** Called before the height changes. */
  onToggle: () => void;
  children: ReactNode;
};

/** Folds a very tall text, with a button to unfold it. */
export function Fold({ id, text, onToggle, children }: Props) {
  if (!mayBeTall(text)) return children;
  return (
    <Folding id={id} onToggle={onToggle}>
      {children}
    </Folding>
  );
}

function Folding({ id, onToggle, children }: Omit<Props, "text">) {
  const box = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  const [isOpen, setOpen] = useState(() => unfolded.has(id));

  // Set on the element, not as state: the list measures the row right after this, and a height that
  // changes later would move the text under the reader.
  useLayoutEffect(() => {
    const content = box.current?.firstElementChild;
    if (!content) return;
    const look = () => {
      const isTall = content.scrollHeight > TALL_PX;
      box.current?.toggleAttribute("data-tall", isTall);
      if (button.current) button.current.hidden = !isTall;
    };
    look();
    const observer = new ResizeObserver(look);
    observer.observe(content);
    return () => observer.disconnect();
  }, []);

  const hasToggled = useRef(false);
  useLayoutEffect(() => {
    if (!hasToggled.current) return;
    // Folding moves the text below up, so scroll to the beginning of this one. A text that unfolded
    // for a focused link shows that link.
    const seen = isOpen ? box.current?.querySelector(":focus") : box.current?.closest("article");
    seen?.scrollIntoView({ block: "nearest" });
  }, [isOpen]);

  const toggle = () => {
    onToggle();
    hasToggled.current = true;
    if (isOpen) unfolded.delete(id);
    else unfolded.add(id);
    setOpen(!isOpen);
  };

  /** The keyboard focus reaches a link in the hidden part. */
  const onFocus = ({ target }: FocusEvent) => {
    const end = box.current?.getBoundingClientRect().bottom ?? 0;
    if (!isOpen && target.getBoundingClientRect().bottom > end) toggle();
  };

  return (
    <>
      {/* biome-ignore lint/a11y/noStaticElementInteractions: it only observes the focus inside it. */}
      <div ref={box} className="fold" data-open={isOpen || undefined} onFocus={onFocus}>
        {children}
      </div>
      <button
        ref={button}
        type="button"
        className="link-button fold-button"
        aria-expanded={isOpen}
        hidden
        onClick={toggle}
      >
        {isOpen ? "Show less" : "Show more"}
      </button>
    </>
  );
}

/** Whether a text could be too tall on the narrowest screen: others need not be measured. */
export function mayBeTall(text: string): boolean {
  return text.length + 40 * (text.split("\n").length - 1) > 300;
}
