import { isVisible } from "./visible";

/** The longest text, in characters (Unicode code points). The service has the same limit. */
export const MAX_TEXT = 4_000;

/**
 * The message text of what a person typed: without leading blank lines, trailing blanks and
 * forbidden characters (U+0000, unpaired surrogates). Null if nothing visible is left, or too much.
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
