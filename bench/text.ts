/** A result as a table for a terminal. */
import type { Result } from "./rounds.ts";
import { format } from "./scenario.ts";
import type { Summary } from "./summary.ts";

function cell({ median, min, max, ratio }: Summary, digits: number): string {
  const [middle, low, high] = [median, min, max].map((value) =>
    format(value, digits)
  );
  const times = Number.isFinite(ratio) ? `  ×${ratio!.toFixed(2)}` : "";
  return `${middle} (${low}–${high})${times}`;
}

/** The title, and a line for each row: median (min–max) ×ratio. */
export function text({ title, columns, rows }: Result): string {
  const lines = [
    ["", ...Object.keys(columns)],
    ...rows.map(({ name, figures }) => [
      name,
      ...Object.entries(columns).map(([key, digits]) =>
        cell(figures[key]!, digits)
      ),
    ]),
  ];
  const widths = lines[0]!.map((_, i) =>
    Math.max(...lines.map((line) => line[i]!.length))
  );
  const pad = (cell: string, i: number) =>
    i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!);
  return [title, ...lines.map((line) => line.map(pad).join("   ").trimEnd())]
    .join("\n");
}
