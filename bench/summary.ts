/** Summaries of rounds: medians, extremes and ratios. */

/** The figures of one round, by column. */
export type Figures = Record<string, number>;

/** The summary of one figure. */
export interface Summary {
  median: number;
  min: number;
  max: number;
  /** The median of the rounds' own ratios to the baseline of the same round. */
  ratio: number | undefined;
}

/** The middle value; of an even number, the mean of the two. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  return (sorted[Math.floor(middle)]! + sorted[Math.ceil(middle)]!) / 2;
}

/**
 * Summarizes a column of a row. The ratio is computed for each round, between runs that
 * were close in time, so that a noisy minute affects both sides of it.
 */
export function summarise(
  column: string,
  rounds: readonly Figures[],
  baseline?: readonly Figures[],
): Summary {
  const values = rounds.map((figures) => figures[column]!);
  const ratios = baseline &&
    values.map((value, i) => value / baseline[i]![column]!);
  return {
    median: median(values),
    min: Math.min(...values),
    max: Math.max(...values),
    ratio: ratios && median(ratios),
  };
}
