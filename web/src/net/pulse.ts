/**
 * Watches for life in a connection. A network that drops everything tells nobody: where nothing
 * came for a while a sign of life is asked for, and where then nothing comes either it is dead.
 * Whatever comes is one, so a slow answer is not cut off in its middle.
 */
export class Pulse {
  private isAsked = false;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly ask: () => void,
    private readonly dead: () => void,
    /** Whether anybody looks at the page. */
    private readonly isSeen: () => boolean,
  ) {
    this.heard();
  }

  /** Something came. */
  heard() {
    this.isAsked = false;
    this.after(this.isSeen() ? QUIET_MS : UNSEEN_QUIET_MS, () => this.check());
  }

  /** Asks at once, and not only after a while. */
  check() {
    if (this.isAsked) return;
    this.isAsked = true;
    this.ask();
    this.after(PATIENCE_MS, (late) => {
      if (late < LATE_MS) return this.dead();
      // The device slept, or the page was held: what came in that time may not be read yet.
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

/**
 * Together the two are how long a dead connection goes unnoticed. With a new one, which takes a
 * moment, that is under the 10 s within which a page is to be well again.
 */
const QUIET_MS = 4_000;
const PATIENCE_MS = 3_000;

/** A page that nobody sees is asked about when somebody does; until then it spares the battery. */
const UNSEEN_QUIET_MS = 20_000;

const LATE_MS = 1_000;
