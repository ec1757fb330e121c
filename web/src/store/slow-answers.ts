const LATE_MS = 2_000;

/**
 * Waits for answers, and reports late ones. A late answer may be on its way, or the connection may
 * be dead: `onLate` can check.
 */
export class SlowAnswers {
  private late = 0;

  constructor(private readonly changed: () => void) {}

  get isSlow(): boolean {
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
