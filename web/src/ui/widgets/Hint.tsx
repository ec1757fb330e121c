import * as Tooltip from "@radix-ui/react-tooltip";
import { type ReactElement, useState } from "react";

/**
 * A tooltip for an icon button, on hover and on keyboard focus. The button has the same text as its
 * accessible name.
 */
export function Hint({ text, children }: { text: string; children: ReactElement }) {
  const [button, setButton] = useState<HTMLElement | null>(null);
  const [isOpen, setOpen] = useState(false);
  return (
    <Tooltip.Root open={isOpen} onOpenChange={setOpen}>
      <Tooltip.Trigger
        asChild
        ref={setButton}
        // Radix opens on any focus, even when a dialog opens or returns it: only Tab should.
        onFocus={(event) => event.preventDefault()}
        onKeyUp={({ key }) => {
          if (key === "Tab") setOpen(true);
        }}
      >
        {children}
      </Tooltip.Trigger>
      {/* Inside the dialog: an open one covers everything outside it. */}
      <Tooltip.Portal container={button?.closest("dialog") ?? null}>
        {/* Radix would repeat the text for screen readers, which have it from the button. */}
        <Tooltip.Content className="tooltip" sideOffset={4} collisionPadding={8} aria-label=" ">
          {text}
        </Tooltip.Content>
      </Tooltip.Portal>
    </Tooltip.Root>
  );
}
