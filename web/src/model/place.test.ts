import { describe, expect, it } from "vitest";
import { older, readAddress, writeAddress } from "./place";

describe("an address", () => {
  it("names a room, and perhaps a message", () => {
    const place = { realm: "admin", room: "ops" } as const;
    expect(readAddress("#/admin/ops")).toEqual({ place, at: null });
    expect(readAddress("#/admin/ops/2.17")).toEqual({ place, at: { epoch: 2, seq: 17 } });
    expect(writeAddress(place, { epoch: 2, seq: 17 })).toBe("#/admin/ops/2.17");
  });

  it("may name a room like a property of Object.prototype", () => {
    const place = { realm: "chat", room: "__proto__" } as const;
    expect(readAddress(writeAddress(place))).toEqual({ place, at: null });
  });

  it("is null if it is empty", () => {
    for (const hash of ["", "#", "#/"]) expect(readAddress(hash)).toBeNull();
  });

  it("is invalid if the room name is invalid", () => {
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

it("the older of two positions has the lower epoch, or else the lower sequence", () => {
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
