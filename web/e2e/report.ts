import { test } from "./test";

/** Puts a figure beside the test that measured it: p50, p99 and how many there were. */
export function report(what: string, values: readonly number[], unit: string): void {
  const shown = [0.5, 0.99].map(
    (share) => `p${share * 100} ${at(values, share).toFixed(1)} ${unit}`,
  );
  figure(what, `${shown.join(", ")}, ${values.length} measured`);
}

/** Puts one figure beside the test that measured it. */
export function figure(what: string, description: string): void {
  test.info().annotations.push({ type: what, description });
  console.log(`${what}: ${description}`);
}

/** The value below which a share of all lie. */
export function at(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const index = Math.min(sorted.length - 1, Math.floor(sorted.length * share));
  return sorted[index] ?? Number.NaN;
}
