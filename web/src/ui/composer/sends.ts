/** Whether a key sends what stands in the field. On a phone Enter alone is the only way to a line. */
export function sends(event: KeyboardEvent, isTouch: boolean): boolean {
  if (event.key !== "Enter" || event.shiftKey || isComposing(event)) return false;
  return !isTouch || event.ctrlKey || event.metaKey;
}

/**
 * The key belongs to an input method, where Enter chooses a word. WebKit says of the last one that
 * the composition is over; what it was tells its code only.
 */
export function isComposing(event: KeyboardEvent): boolean {
  return event.isComposing || event.keyCode === OF_INPUT_METHOD;
}

const OF_INPUT_METHOD = 229;
