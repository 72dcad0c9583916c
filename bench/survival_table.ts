/** A table, and the file that it is kept in. */

/** A Markdown table as `deno fmt` would have it. */
export function table(rows: string[][]): string {
  const widths = rows[0]!.map((_, column) =>
    Math.max(...rows.map((row) => row[column]!.length))
  );
  const lines = rows.map((row) =>
    `| ${row.map((cell, i) => cell.padEnd(widths[i]!)).join(" | ")} |`
  );
  const rule = `| ${widths.map((width) => "-".repeat(width)).join(" | ")} |`;
  return [lines[0], rule, ...lines.slice(1)].join("\n");
}

/** Puts the text between the markers of a file. */
export async function write(file: string, text: string): Promise<void> {
  const before = await Deno.readTextFile(file);
  const between = /(<!-- survival -->\n)[^]*?(<!-- \/survival -->)/;
  if (!between.test(before)) {
    throw new Error(`There are no <!-- survival --> markers in ${file}`);
  }
  const after = before.replace(
    between,
    (_, start, end) => `${start}\n${text}\n\n${end}`,
  );
  await Deno.writeTextFile(file, after);
}
