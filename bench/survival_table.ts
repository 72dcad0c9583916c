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

/** Puts a text between `<!-- name -->` and `<!-- /name -->` in a file. */
export async function write(
  file: string,
  name: string,
  text: string,
): Promise<void> {
  const before = await Deno.readTextFile(file);
  const [start, end] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
  const [head, rest] = before.split(start);
  const [old, tail] = rest?.split(end) ?? [];
  if (old === undefined || tail === undefined) {
    throw new Error(`There is no ${start} with its end in ${file}`);
  }
  await Deno.writeTextFile(
    file,
    `${head}${start}\n\n${text}\n\n${end}${tail}`,
  );
}
