/** The commands in the header of an example, as its reader copies them. */

const EXAMPLES = new URL("../../examples/", import.meta.url);

/**
 * The commands in an example's header, one a line.
 *
 * @param path The example, in `examples/`.
 */
export function headerCommands(path: string): string[] {
  const source = Deno.readTextFileSync(new URL(path, EXAMPLES));
  const blocks = source.matchAll(/^ \* ```sh\n([^]*?)^ \* ```$/gm);
  const text = Array.from(blocks, ([, block]) => block).join("");
  const lines = text.replaceAll(/^ \* /gm, "").replaceAll(/\\\n\s*/g, "");
  return lines.trimEnd().split("\n");
}

/** The same command with the program that runs the tests for `deno`. */
export function withThisDeno(command: string): string {
  return command.replaceAll(/\bdeno (?=run|task)/g, `"${Deno.execPath()}" `);
}
