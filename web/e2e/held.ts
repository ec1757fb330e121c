import type { ChatActions } from "../src/store/view";

/** Where React keeps its component tree, as its developer tools find it. */
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
 * Runs in the page, and exposes its store to later scripts. The store is found in the props of
 * React's components: production code has no test hook, and of a long room the list renders only
 * what is in view.
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
