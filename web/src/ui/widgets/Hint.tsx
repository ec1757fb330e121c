import * as Tooltip from "@radix-ui/react-tooltip";
import { type ReactElement, useState } from "react";

/** What an icon button does, on hover and for whoever comes to it by Tab. The button carries the same words as its accessible name. */
export function Hint({ text, children }: { text: string; children: ReactElement }) {
  const [button, setButton] = useState<HTMLElement | null>(null);
  const [isOpen, setOpen] = useState(false);
  return (
    <Tooltip.Root open={isOpen} onOpenChange={setOpen}>
      <Tooltip.Trigger
        asChild
        ref={setButton}
        // Radix opens on any focus, also where a dialog begins or gave it back: nobody asked then.
        onFocus={(event) => event.preventDefault()}
        onKeyUp={({ key }) => {
          if (key === "Tab") setOpen(true);
        }}
      >
        {children}
      </Tooltip.Trigger>
      {/* An open dialog lies above whatever stands beside it in the page. */}
      <Tooltip.Portal container={button?.closest("dialog") ?? null}>
        {/* Radix would repeat the words for screen readers, which know them from the button. */}
        <Tooltip.Content className="tooltip" sideOffset={4} collisionPadding={8} aria-label=" ">
          {text}
        </Tooltip.Content>
      </Tooltip.Portal>
    </Tooltip.Root>
  );
}
