// Blanks, control characters, what Unicode wants shown as nothing (zero-width characters, fillers,
// direction marks), and two that fonts leave empty: annotation marks and the blank of Braille.
const SEEN = /[^\s\p{Z}\p{Cc}\p{Default_Ignorable_Code_Point}\ufff9-\ufffb\u2800]/u;

/** Whether there is anything to see. `functions/src/message/visible.rs` judges by the same rule. */
export function isVisible(text: string): boolean {
  return SEEN.test(text);
}

/** Turn the direction of whatever comes after them: a name needs none, and could seem another. */
const TURNS = /[\u202a-\u202e\u2066-\u2069]/gu;

/** The name of whoever wrote a message, as it is shown. */
export function shownName(name: string): string {
  return isVisible(name) ? name.replace(TURNS, "").trim() : "(no name)";
}
