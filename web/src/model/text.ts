import { isVisible } from "./visible";

/** The longest text, in characters (Unicode code points). The service has the same limit. */
export const MAX_TEXT = 4_000;

/**
 * What a person typed, as a message's text: without blank lines before and blanks after it, and
 * without what no text may hold (U+0000, half of a surrogate pair). Null where nothing that one can
 * see is left, or too much.
 */
export function toText(typed: string): string | null {
  const whole = new TextDecoder().decode(new TextEncoder().encode(typed));
  const text = whole
    .replaceAll("\0", "")
    .replace(/^\s*\n/, "")
    .trimEnd();
  const length = [...text].length;
  return length <= MAX_TEXT && isVisible(text) ? text : null;
}
