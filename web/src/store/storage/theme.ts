import { forPerson } from "./storage";

/** A person's choice of theme; `system` follows the device. */
export type Theme = "system" | "light" | "dark";

const KEY = "chat.theme";

/** The stored choice, or `system`. */
export function theme(): Theme {
  const kept = forPerson.getItem(KEY);
  return kept === "light" || kept === "dark" ? kept : "system";
}

/** Stores a choice and applies it. */
export function chooseTheme(choice: Theme): void {
  try {
    if (choice === "system") forPerson.removeItem(KEY);
    else forPerson.setItem(KEY, choice);
  } catch {
    // Storage is full: it holds until the next reload.
  }
  show(choice);
}

/** Applies the stored theme before the first render, so that the page does not flash. */
export function applyTheme(): void {
  show(theme());
}

function show(choice: Theme) {
  if (choice === "system") delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = choice;
}
