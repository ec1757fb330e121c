import { type FocusEvent, type ReactNode, useLayoutEffect, useRef, useState } from "react";

/** A taller text is folded, to the height that `messages.css` gives: some twenty lines. */
const TALL_PX = 480;

/** What stands unfolded does so again when it is scrolled back to, or its room is. */
const unfolded = new Set<string>();

type Props = {
  /** What is folded, for as long as the page is there. */
  id: string;
  text: string;
  /** Before the height changes. */
  onToggle: () => void;
  children: ReactNode;
};

/** Folds a very tall text, and lets it be unfolded. */
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

  // By hand, and not by a state: the list measures the row right after this, and a height that
  // changes afterwards moves what one reads.
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
    // What comes after a text that closes moves up: its own beginning is what one is left with. One
    // that opened for what has the focus in it shows that.
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

  /** The keyboard reaches a link in the part that does not show. */
  const onFocus = ({ target }: FocusEvent) => {
    const end = box.current?.getBoundingClientRect().bottom ?? 0;
    if (!isOpen && target.getBoundingClientRect().bottom > end) toggle();
  };

  return (
    <>
      {/* biome-ignore lint/a11y/noStaticElementInteractions: it hears of what is focused in it. */}
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

/** Whether it could be tall where lines are shortest: all others need not be measured. */
export function mayBeTall(text: string): boolean {
  return text.length + 40 * (text.split("\n").length - 1) > 300;
}
