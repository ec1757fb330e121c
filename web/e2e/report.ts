import { test } from "./test";

/** Puts a figure beside the test that measured it: p50, p99 and how many there were. */
export function report(what: string, values: readonly number[], unit: string): void {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number) =>
    (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0).toFixed(1);
  const description = `p50 ${at(0.5)} ${unit}, p99 ${at(0.99)} ${unit}, ${sorted.length} measured`;
  test.info().annotations.push({ type: what, description });
  console.log(`${what}: ${description}`);
}
