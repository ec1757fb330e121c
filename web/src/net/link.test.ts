import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Connection } from "./connection";
import { NoConnection, signInAway } from "./failure";
import { Link, pause } from "./link";

/** A server that is there or not, and connections that end when the test says so. */
class Server {
  isUp = true;
  refusal: NoConnection | null = null;
  readonly ends: ((why?: "session" | "lost") => void)[] = [];
  closed = 0;
  attempts = 0;
  probes = 0;

  connect = async (): Promise<Connection> => {
    this.attempts += 1;
    if (this.refusal) throw this.refusal;
    if (!this.isUp) throw new NoConnection("away", "Nobody answers.");
    let end = (_: "session" | "lost" = "lost") => {};
    const ended = new Promise<"session" | "lost">((resolve) => {
      end = (why = "lost") => resolve(why);
    });
    this.ends.push(end);
    const close = () => {
      this.closed += 1;
      end();
    };
    const probe = () => {
      this.probes += 1;
    };
    return { ended, close, probe } as unknown as Connection;
  };
}

function started(server: Server, isPatient = false) {
  const told: string[] = [];
  const link = new Link(
    () => server.connect(),
    {
      up: () => told.push("up"),
      down: () => told.push("down"),
      refused: ({ kind }) => told.push(kind),
      changed: () => {},
    },
    isPatient,
  );
  link.start();
  return { link, told };
}

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

describe("a link", () => {
  it("connects again after an outage of any length", async () => {
    const server = new Server();
    const { link, told } = started(server);
    await vi.advanceTimersByTimeAsync(0);
    expect(link.status).toEqual({ state: "online" });
    server.isUp = false;
    server.ends[0]?.();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(link.status).toMatchObject({ state: "offline", since: Date.now() - 60_000 });
    server.isUp = true;
    await vi.advanceTimersByTimeAsync(5_000);
    expect([told, link.status.state]).toEqual([["up", "down", "up"], "online"]);
  });

  it("gives up and says why if the first attempt fails", async () => {
    const server = new Server();
    server.isUp = false;
    const { told } = started(server);
    await vi.advanceTimersByTimeAsync(60_000);
    expect([told, server.attempts]).toEqual([["away"], 1]);
  });

  it("of a page that is reloaded during an outage waits for its end", async () => {
    const server = new Server();
    server.isUp = false;
    const { told } = started(server, true);
    await vi.advanceTimersByTimeAsync(20_000);
    server.isUp = true;
    await vi.advanceTimersByTimeAsync(5_000);
    expect(told).toEqual(["up"]);
  });

  it("ends when the password is no longer accepted", async () => {
    const server = new Server();
    const { told } = started(server);
    await vi.advanceTimersByTimeAsync(0);
    server.refusal = new NoConnection("wrong-password", "No.");
    server.ends[0]?.();
    await vi.advanceTimersByTimeAsync(60_000);
    expect([told, server.attempts]).toEqual([["up", "down", "wrong-password"], 2]);
  });

  it("waits for the sign-in service, even at first, and says so", async () => {
    const server = new Server();
    server.refusal = signInAway();
    const { link, told } = started(server);
    await vi.advanceTimersByTimeAsync(20_000);
    expect(link.status).toMatchObject({ state: "offline", why: { kind: "sign-in-away" } });
    server.refusal = null;
    await vi.advanceTimersByTimeAsync(5_000);
    expect([told, link.status.state]).toEqual([["up"], "online"]);
  });

  it("whose session has ended connects again at once, and ends if that is refused", async () => {
    const server = new Server();
    const { told } = started(server);
    await vi.advanceTimersByTimeAsync(60_000);
    server.ends[0]?.("session");
    await vi.advanceTimersByTimeAsync(0);
    expect(told).toEqual(["up", "down", "up"]);
    server.ends[1]?.("session");
    await vi.advanceTimersByTimeAsync(0);
    expect(told.at(-1), "one that was brief is waited after").toBe("down");
    await vi.advanceTimersByTimeAsync(60_000);
    server.refusal = new NoConnection("session-ended", "Log in again.");
    server.ends[2]?.("session");
    await vi.advanceTimersByTimeAsync(60_000);
    expect([told.slice(4), server.attempts]).toEqual([["up", "down", "session-ended"], 4]);
  });

  it("woken, tries at once, or checks its open connection", async () => {
    const server = new Server();
    const { link, told } = started(server);
    await vi.advanceTimersByTimeAsync(0);
    link.wake();
    expect(server.probes).toBe(1);
    server.isUp = false;
    server.ends[0]?.();
    await vi.advanceTimersByTimeAsync(10_000);
    server.isUp = true;
    const before = server.attempts;
    link.wake();
    await vi.advanceTimersByTimeAsync(0);
    expect([server.attempts - before, told.at(-1)]).toEqual([1, "up"]);
  });

  it("woken during an attempt waits only briefly for the next one", async () => {
    const server = new Server();
    const { link } = started(server);
    await vi.advanceTimersByTimeAsync(0);
    server.isUp = false;
    server.ends[0]?.();
    await vi.advanceTimersByTimeAsync(60_000);
    const { connect } = server;
    let fail = () => {};
    server.connect = () =>
      new Promise((_, reject) => {
        fail = () => reject(new NoConnection("away", "Nobody answers."));
      });
    await vi.advanceTimersByTimeAsync(3_000);
    expect(link.status).toMatchObject({ state: "offline", retryAt: null });
    link.wake();
    server.connect = connect;
    server.isUp = true;
    fail();
    await vi.advanceTimersByTimeAsync(400);
    expect(link.status).toEqual({ state: "online" });
  });

  it("that was stopped closes the connection of a late attempt", async () => {
    const server = new Server();
    const { link, told } = started(server);
    link.stop();
    await vi.advanceTimersByTimeAsync(0);
    expect([told, server.closed]).toEqual([[], 1]);
  });
});

it("pauses grow up to 3 s, and half of each is random", () => {
  expect([0, 1, 2, 20].map((failures) => pause(failures, 1))).toEqual([400, 800, 1_600, 3_000]);
  expect([0, 1, 2, 20].map((failures) => pause(failures, 0))).toEqual([200, 400, 800, 1_500]);
});
