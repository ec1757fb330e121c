import * as Tooltip from "@radix-ui/react-tooltip";
import type { ReactElement } from "react";

/** What an icon button does, on hover and on focus. The button carries the same words as its accessible name. */
export function Hint({ text, children }: { text: string; children: ReactElement }) {
  return (
    <Tooltip.Root>
      <Tooltip.Trigger asChild>{children}</Tooltip.Trigger>
      <Tooltip.Portal>
        {/* Radix would repeat the words for screen readers, which know them from the button. */}
        <Tooltip.Content className="tooltip" sideOffset={4} collisionPadding={8} aria-label=" ">
          {text}
        </Tooltip.Content>
      </Tooltip.Portal>
    </Tooltip.Root>
  );
}
