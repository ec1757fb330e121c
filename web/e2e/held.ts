import type { ChatActions } from "../src/store/view";

/** Where React keeps what it has rendered, as its developer tools find it. */
interface Fiber {
  readonly child: Fiber | null;
  readonly memoizedProps: { readonly chat?: ChatActions } | null;
}

declare global {
  interface Window {
    findStore(): ChatActions;
  }
}

/**
 * Runs in the page, and makes its store known to what runs there later. The store is found in what
 * React was given to show: production code has no door for tests, and of a long room the list
 * shows only what is in view.
 */
export function withStore(): void {
  window.findStore = () => {
    const root = document.getElementById("root");
    const key = Object.keys(root ?? {}).find((name) => name.startsWith("__reactContainer$"));
    let fiber = key ? (root as unknown as Record<string, Fiber | null>)[key] : null;
    while (fiber && !fiber.memoizedProps?.chat) fiber = fiber.child;
    if (!fiber?.memoizedProps?.chat) throw new Error("React shows no chat");
    return fiber.memoizedProps.chat;
  };
}
