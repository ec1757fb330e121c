import { type RefObject, useEffect } from "react";
import { isComposing } from "./sends";

/** Esc, or typing without a focused element, moves to the newest message and the text field. */
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

/** Focuses a field unasked, except on a phone, where its keyboard would cover half of the page. */
export function focusUnasked(field: HTMLElement | null): void {
  if (!window.matchMedia("(pointer: coarse)").matches) field?.focus();
}

/** Whether a dialog or a menu is open, to which the keys belong. */
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
