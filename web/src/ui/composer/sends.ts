/** Whether a key sends the text. On a phone Enter is the only key for a new line. */
export function sends(event: KeyboardEvent, isTouch: boolean): boolean {
  if (event.key !== "Enter" || event.shiftKey || isComposing(event)) return false;
  return !isTouch || event.ctrlKey || event.metaKey;
}

/**
 * Whether the key belongs to an input method, where Enter chooses a word. WebKit reports the last
 * such key after the composition has ended: only its key code shows it.
 */
export function isComposing(event: KeyboardEvent): boolean {
  return event.isComposing || event.keyCode === OF_INPUT_METHOD;
}

const OF_INPUT_METHOD = 229;
