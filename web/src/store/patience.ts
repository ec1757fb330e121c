const LATE_MS = 2_000;

/**
 * Waits for answers, and notices those that are late. Until it comes, nobody knows whether a late
 * one is on its way or the connection is dead: whoever asked is told, and may look.
 */
export class Patience {
  private late = 0;

  constructor(private readonly changed: () => void) {}

  get isTried(): boolean {
    return this.late > 0;
  }

  async wait<T>(answer: Promise<T>, onLate: () => void): Promise<T> {
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      this.count(1);
      onLate();
    }, LATE_MS);
    try {
      return await answer;
    } finally {
      clearTimeout(timer);
      if (isLate) this.count(-1);
    }
  }

  private count(change: number) {
    this.late += change;
    this.changed();
  }
}
