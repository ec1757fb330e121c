// @vitest-environment happy-dom
import { Provider as Hints } from "@radix-ui/react-tooltip";
import { cleanup, fireEvent, render, screen, within } from "@testing-library/react";
import { afterEach, expect, test, vi } from "vitest";
import type { ChatActions } from "../../store/view";
import { Account } from "./Account";

afterEach(cleanup);

const ME = { uid: "ada", name: "Ada", mayWrite: true, isAdmin: false };

function show(unsent: { queued: number; failed: number }) {
  const logOut = vi.fn();
  const chat = { getSnapshot: () => ({ unsent }), logOut } as unknown as ChatActions;
  render(
    <Hints>
      <Account chat={chat} me={ME} />
    </Hints>,
  );
  fireEvent.click(screen.getByRole("button", { name: "Log out" }));
  return logOut;
}

test("a person without unsent messages logs out at once", () => {
  expect(show({ queued: 0, failed: 0 })).toHaveBeenCalledOnce();
});

test("a person with unsent messages is told where they wait, and may stay", () => {
  const logOut = show({ queued: 1, failed: 0 });
  const dialog = within(screen.getByRole("dialog"));
  expect(dialog.getByText(/1 message is not sent yet/)).toBeTruthy();
  expect(logOut).not.toHaveBeenCalled();
  fireEvent.click(dialog.getByRole("button", { name: "Stay" }));
  expect(screen.queryByRole("dialog")).toBeNull();
  expect(logOut).not.toHaveBeenCalled();
});

test("a person may log out anyway, whether messages wait or were refused", () => {
  const logOut = show({ queued: 1, failed: 2 });
  const dialog = within(screen.getByRole("dialog"));
  expect(dialog.getByText(/3 messages are not sent yet/)).toBeTruthy();
  fireEvent.click(dialog.getByRole("button", { name: "Log out" }));
  expect(logOut).toHaveBeenCalledOnce();
});
