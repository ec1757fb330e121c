// Blanks, control characters, what Unicode leaves invisible (zero-width characters, fillers,
// direction marks), and two that fonts leave empty: annotation marks and the blank of Braille.
const SEEN = /[^\s\p{Z}\p{Cc}\p{Default_Ignorable_Code_Point}\ufff9-\ufffb\u2800]/u;

/** Whether a text has anything visible. `functions/src/message/visible.rs` has the same rule. */
export function isVisible(text: string): boolean {
  return SEEN.test(text);
}

/** Characters that change the text direction. With them a name could look like another one. */
const TURNS = /[\u202a-\u202e\u2066-\u2069]/gu;

/** The display name of a message's author. */
export function shownName(name: string): string {
  return isVisible(name) ? name.replace(TURNS, "").trim() : "(no name)";
}
