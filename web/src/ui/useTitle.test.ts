import { expect, test } from "vitest";
import type { ChatView, RoomEntry } from "../store/view";
import { titleOf } from "./useTitle";

function entry(room: string, unread: number, changes: Partial<RoomEntry> = {}): RoomEntry {
  const place = { realm: "chat", room } as const;
  const rest = {
    unreadMore: false,
    isOpen: false,
    hasDraft: false,
    queued: 0,
    failed: 0,
    canLeave: false,
  };
  return { place, unread, ...rest, ...changes };
}

const title = (rooms: readonly RoomEntry[], isLookedAt = true) => {
  const open = rooms.find(({ isOpen }) => isOpen);
  return titleOf({ rooms, room: (open ?? null) as ChatView["room"] }, isLookedAt);
};

test("the title counts unread messages, and says if there are more", () => {
  const general = entry("general", 0, { isOpen: true });
  expect(title([general])).toBe("general · Chat");
  expect(title([general, entry("random", 3)])).toBe("(3) general · Chat");
  const lively = entry("random", 50, { unreadMore: true });
  expect(title([general, lively])).toBe("(50+) general · Chat");
  expect(title([general, lively, entry("help", 2)])).toBe("(52+) general · Chat");
});

test("the open room counts only while the page has no focus", () => {
  const general = entry("general", 2, { isOpen: true });
  expect(title([general], true)).toBe("general · Chat");
  expect(title([general], false)).toBe("(2) general · Chat");
});
