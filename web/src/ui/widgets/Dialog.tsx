import { type ReactNode, useLayoutEffect, useRef } from "react";

type Props = {
  label: string;
  className: string;
  onClose: () => void;
  children: ReactNode;
};

/**
 * The platform's own modal dialog: it traps the focus, Esc and a click outside close it, and the
 * focus returns to where it was. A library's would write a `<style>` element, which the page's
 * Content-Security-Policy refuses.
 */
export function Dialog({ label, className, onClose, children }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  // The cleanup of a layout effect runs before the element is removed: a dialog that is removed
  // while it is open loses the focus.
  useLayoutEffect(() => {
    const element = dialog.current;
    element?.showModal();
    // The element to start from: the field of a form, the open room.
    element?.querySelector<HTMLElement>("input, [aria-current]")?.focus();
    return () => element?.close();
  }, []);
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: the dialog itself handles Esc.
    <dialog
      ref={dialog}
      aria-label={label}
      className={className}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onClick={(event) => {
        if (event.target === dialog.current && isOutside(event, dialog.current)) onClose();
      }}
    >
      {children}
    </dialog>
  );
}

function isOutside(event: { clientX: number; clientY: number }, element: Element): boolean {
  const box = element.getBoundingClientRect();
  const { clientX: x, clientY: y } = event;
  return x < box.left || x > box.right || y < box.top || y > box.bottom;
}
