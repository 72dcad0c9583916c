/** Measures a table, round by round. */
import { format, type Table } from "./scenario.ts";
import { type Figures, summarise, type Summary } from "./summary.ts";

/** A table that has been measured. */
export interface Result {
  title: string;
  columns: Record<string, number>;
  rows: { name: string; baseline: string; figures: Record<string, Summary> }[];
}

/** Measures every row so many times, and calls back with a line each time. */
export async function measure(
  { title, columns, baselines, round }: Table,
  rounds: number,
  done: (line: string) => void,
): Promise<Result> {
  const taken = new Map<string, Figures[]>();
  for (const row of Object.keys(baselines)) taken.set(row, []);
  for (let i = 0; i < rounds; i++) {
    for await (const [row, figures] of round(i)) {
      taken.get(row)!.push(figures);
      const values = Object.entries(columns).map(([column, digits]) =>
        `${column} ${format(figures[column]!, digits)}`
      );
      done(`${title}, round ${i + 1}: ${row}: ${values.join(", ")}`);
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
