import { describe, expect, it } from "vitest";
import { older, readAddress, writeAddress } from "./place";

describe("an address", () => {
  it("names a room, and perhaps a message", () => {
    const place = { realm: "admin", room: "ops" } as const;
    expect(readAddress("#/admin/ops")).toEqual({ place, at: null });
    expect(readAddress("#/admin/ops/2.17")).toEqual({ place, at: { epoch: 2, seq: 17 } });
    expect(writeAddress(place, { epoch: 2, seq: 17 })).toBe("#/admin/ops/2.17");
  });

  it("may name a room that an object's prototype knows", () => {
    const place = { realm: "chat", room: "__proto__" } as const;
    expect(readAddress(writeAddress(place))).toEqual({ place, at: null });
  });

  it("is none without a room", () => {
    for (const hash of ["", "#", "#/"]) expect(readAddress(hash)).toBeNull();
  });

  it("is invalid where no room can have the name", () => {
    const long = "x".repeat(300);
    const names = [
      "a.b",
      "*",
      ">",
      "a b",
      "a\r\nb",
      "",
      long,
      "История",
      "$SYS",
      "a%2Fb",
      "%",
      "%E0",
    ];
    for (const name of names) {
      for (const spelled of [name, encodeURIComponent(name)]) {
        expect(readAddress(`#/chat/${spelled}`), spelled).toBe("invalid");
      }
    }
    for (const hash of ["#/live/x", "#/chat", "#x", "#/chat/a/1", "#/chat/a/b", "#/chat/a/1.2/c"]) {
      expect(readAddress(hash), hash).toBe("invalid");
    }
  });
});

it("the older of two positions is of the older log, or else the one before", () => {
  const [a, b] = [
    { epoch: 1, seq: 9 },
    { epoch: 2, seq: 1 },
  ];
  expect([older(a, b), older(b, a), older(a, null), older(null, b), older(null, null)]).toEqual([
    a,
    a,
    a,
    b,
    null,
  ]);
});
