import { forPerson } from "./storage";

/** What a person may choose for the page's looks; `system` follows the device. */
export type Theme = "system" | "light" | "dark";

const KEY = "chat.theme";

/** The choice that was kept, or `system`. */
export function theme(): Theme {
  const kept = forPerson.getItem(KEY);
  return kept === "light" || kept === "dark" ? kept : "system";
}

/** Keeps a choice and shows the page in it. */
export function chooseTheme(choice: Theme): void {
  try {
    if (choice === "system") forPerson.removeItem(KEY);
    else forPerson.setItem(KEY, choice);
  } catch {
    // Full: it holds until the page is loaded anew.
  }
  show(choice);
}

/** Called before the first render, so that the page never flashes in the other theme. */
export function applyTheme(): void {
  show(theme());
}

function show(choice: Theme) {
  if (choice === "system") delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = choice;
}
