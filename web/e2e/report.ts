import { test } from "./test";

/** Adds p50, p99 and the count of measurements to the test's report. */
export function report(what: string, values: readonly number[], unit: string): void {
  const shown = [0.5, 0.99].map(
    (share) => `p${share * 100} ${at(values, share).toFixed(1)} ${unit}`,
  );
  figure(what, `${shown.join(", ")}, ${values.length} measured`);
}

/** Adds one figure to the test's report. */
export function figure(what: string, description: string): void {
  test.info().annotations.push({ type: what, description });
  console.log(`${what}: ${description}`);
}

/** The percentile: the value below which this share of all values lies. */
export function at(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const index = Math.min(sorted.length - 1, Math.floor(sorted.length * share));
  return sorted[index] ?? Number.NaN;
}
