import { expect, it } from "vitest";
import { subject, template } from "./subjects";

const STAFF = { realm: "admin", room: "staff" } as const;

it("a subject names a room, or any room of a realm", () => {
  expect(subject("live", STAFF)).toBe("live.admin.staff");
  expect(subject("send", STAFF)).toBe("admin.send.staff");
  expect(template("history", "chat")).toBe("chat.history.{room}");
});

it("an invalid room name makes no subject", () => {
  for (const room of ["", "*", ">", "a.b", "a b"]) {
    expect(() => subject("live", { realm: "chat", room }), room).toThrow();
  }
});

it("subjects and NATS's headers are spelled in this folder only", () => {
  const files = import.meta.glob<string>(
    ["../**/*.{ts,tsx}", "!../**/*.test.{ts,tsx}", "!../net/**"],
    { query: "?raw", import: "default", eager: true },
  );
  expect(Object.keys(files).length).toBeGreaterThan(50);
  const spelled =
    /\blive\.(chat|admin|\$)|\.(send|history)\.[a-z{$]|["`](Nats|History)-|_INBOX|\$SYS/;
  const found = Object.entries(files).filter(([, source]) => spelled.test(source));
  expect(found.map(([path]) => path)).toEqual([]);
});
