// @vitest-environment happy-dom
import { cleanup, render } from "@testing-library/react";
import { useRef } from "react";
import { afterEach, expect, test, vi } from "vitest";
import { type Entry, SENT } from "../../model/message";
import type { ChatActions, Spot } from "../../store/view";
import { useLeaving } from "./useLeaving";

afterEach(() => {
  cleanup();
  vi.restoreAllMocks();
});

const GENERAL = { realm: "chat", room: "general" } as const;

const entries: readonly Entry[] = [1, 2, 3].map((seq) => ({
  key: `bob/${seq}`,
  id: String(seq),
  uid: "bob",
  name: "Bob",
  text: "x",
  timestamp: seq,
  at: { epoch: 1, seq },
  delivery: SENT,
}));

type Props = { leaveAt: ChatActions["leaveAt"]; shown: readonly Entry[] };

/** A list of rows of 100 px, scrolled down by 150 px. */
function List({ leaveAt, shown }: Props) {
  const frame = useRef<HTMLDivElement>(null);
  useLeaving({ leaveAt } as ChatActions, GENERAL, shown, frame, true);
  return (
    <div ref={frame}>
      {shown.map(({ key }) => (
        <article key={key} data-key={key} />
      ))}
    </div>
  );
}

function layOut() {
  vi.spyOn(HTMLElement.prototype, "scrollHeight", "get").mockReturnValue(10_000);
  vi.spyOn(HTMLElement.prototype, "getBoundingClientRect").mockImplementation(function (
    this: HTMLElement,
  ) {
    const index = entries.findIndex(({ key }) => key === this.dataset["key"]);
    return index < 0 ? new DOMRect(0, 150, 100, 500) : new DOMRect(0, index * 100, 100, 100);
  });
}

test("leaving reports the message in view and its position in the log", () => {
  layOut();
  const left: (Spot | null)[] = [];
  const { unmount } = render(<List leaveAt={(_, spot) => left.push(spot)} shown={entries} />);
  // The store may have dropped these rows by now: only the rendered ones tell the position.
  unmount();
  expect(left).toEqual([{ key: "bob/3", top: 50, at: { epoch: 1, seq: 3 } }]);
});

test("a list without messages reports no position", () => {
  layOut();
  const left: (Spot | null)[] = [];
  render(<List leaveAt={(_, spot) => left.push(spot)} shown={[]} />).unmount();
  expect(left).toEqual([]);
});
