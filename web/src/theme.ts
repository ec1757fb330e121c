/** What a person may choose for the page's looks; `system` follows the device. */
export type Theme = "system" | "light" | "dark";

const KEY = "chat.theme";

/** The choice that was kept, or `system`. */
export function theme(): Theme {
  const kept = localStorage.getItem(KEY);
  return kept === "light" || kept === "dark" ? kept : "system";
}

/** Keeps a choice and shows the page in it. */
export function chooseTheme(choice: Theme): void {
  if (choice === "system") localStorage.removeItem(KEY);
  else localStorage.setItem(KEY, choice);
  applyTheme();
}

/** Called before the first render, so that the page never flashes in the other theme. */
export function applyTheme(): void {
  const choice = theme();
  if (choice === "system") delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = choice;
}
