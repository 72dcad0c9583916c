/** Measures a table, round by round. */
import type { Table } from "./scenario.ts";
import { type Figures, summarise, type Summary } from "./summary.ts";

/** A table that has been measured. */
export interface Result {
  title: string;
  columns: Record<string, number>;
  rows: { name: string; baseline: string; figures: Record<string, Summary> }[];
}

/** Measures every row so many times, and says so each time. */
export async function measure(
  { title, columns, baselines, round }: Table,
  rounds: number,
  done: () => void,
): Promise<Result> {
  const taken = new Map<string, Figures[]>();
  for (const row of Object.keys(baselines)) taken.set(row, []);
  for (let i = 0; i < rounds; i++) {
    for await (const [row, figures] of round(i)) {
      taken.get(row)!.push(figures);
      done();
    }
  }
  const rows = Object.entries(baselines).map(([name, baseline]) => ({
    name,
    baseline,
    figures: Object.fromEntries(
      Object.keys(columns).map((column) => [
        column,
        summarise(column, taken.get(name)!, taken.get(baseline)!),
      ]),
    ),
  }));
  return { title, columns, rows };
}
