/**
 * Detects a dead connection, which a network that drops everything does not report. After a quiet
 * time it pings; if nothing comes then either, the connection is dead. Any data counts, so a slow
 * answer is not cut off.
 */
export class Pulse {
  private isAsked = false;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly ask: () => void,
    private readonly dead: () => void,
    /** Whether the page is visible. */
    private readonly isSeen: () => boolean,
  ) {
    this.heard();
  }

  /** Data came. */
  heard() {
    this.isAsked = false;
    this.after(this.isSeen() ? QUIET_MS : UNSEEN_QUIET_MS, () => this.check());
  }

  /** Pings at once. */
  check() {
    if (this.isAsked) return;
    this.isAsked = true;
    this.ask();
    this.after(PONG_TIMEOUT_MS, (late) => {
      if (late < LATE_MS) return this.dead();
      // The device slept or the page was frozen: data that came meanwhile may be unread yet.
      this.isAsked = false;
      this.check();
    });
  }

  stop() {
    clearTimeout(this.timer);
  }

  private after(ms: number, then: (late: number) => void) {
    clearTimeout(this.timer);
    const due = Date.now() + ms;
    this.timer = setTimeout(() => then(Date.now() - due), ms);
  }
}

/** A dead connection is noticed after the sum of these, so a page recovers within 10 s. */
const QUIET_MS = 4_000;
const PONG_TIMEOUT_MS = 3_000;

/** A hidden page pings rarely, to save the battery; it pings when it becomes visible. */
const UNSEEN_QUIET_MS = 20_000;

const LATE_MS = 1_000;
