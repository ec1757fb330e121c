import { type RefObject, useEffect } from "react";
import { isComposing } from "./sends";

/** Esc leads to the newest message and into the field, and so does writing with the focus nowhere. */
export function useWritingKeys(
  field: RefObject<HTMLTextAreaElement | null>,
  toNewest: () => void,
): void {
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (event.defaultPrevented || isComposing(event) || isCovered()) return;
      if (event.key === "Escape") {
        toNewest();
        field.current?.focus();
      } else if (isWriting(event)) {
        field.current?.focus();
      }
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, [field, toNewest]);
}

/** Focuses a field that nobody asked for, unless a keyboard would then cover half of a phone's page. */
export function focusUnasked(field: HTMLElement | null): void {
  if (!window.matchMedia("(pointer: coarse)").matches) field?.focus();
}

/** A dialog or a menu is open: the keys are its own. */
function isCovered(): boolean {
  return document.querySelector("dialog[open], [role=menu]") !== null;
}

function isWriting(event: KeyboardEvent): boolean {
  const { key, target } = event;
  const isCharacter = [...key].length === 1 && key !== " ";
  const isModified = event.ctrlKey || event.metaKey || event.altKey;
  const isNowhere = target === document.body || (target as Element).tagName === "ARTICLE";
  return isCharacter && !isModified && isNowhere;
}
