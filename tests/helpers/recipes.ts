/** The blocks of docs/recipes.md, as they stand there. */
import { TempDir } from "./temp_dir.ts";

const RECIPES = await Deno.readTextFile(
  new URL("../../docs/recipes.md", import.meta.url),
);

const MOD = new URL("../../mod.ts", import.meta.url).href;
const ASSERT = import.meta.resolve("@std/assert");

/** The one block of a section that begins so. */
function block(section: string, start: string): string {
  const sections = RECIPES.split(/^## /m);
  const own = sections.find((text) => text.startsWith(`${section}\n`)) ?? "";
  const [, block, ...others] = own.split(start);
  if (block === undefined || others.length > 0) {
    throw new Error(`Not one block in "${section}" that begins so: ${start}`);
  }
  return block.slice(0, block.indexOf("```"));
}

/** The one block in a language of a section. */
export function recipe(section: string, language: string): string {
  return block(section, "```" + language + "\n");
}

/** The block of a section that is a file. Its name is in the block's first line. */
export function recipeFile(section: string, name: string): string {
  return block(section, `\`\`\`ts ignore\n// ${name}\n`);
}

/** Runs the block of a section, and gives what it has under these names. */
export async function recipeExports(
  section: string,
  ...names: string[]
  // deno-lint-ignore no-explicit-any
): Promise<any> {
  await using dir = new TempDir();
  const file = `${dir.path}/recipe.ts`;
  const source = recipe(section, "ts")
    .replace('"@evconn/listener"', JSON.stringify(MOD))
    .replace('"@std/assert"', JSON.stringify(ASSERT));
  await Deno.writeTextFile(file, `${source}export { ${names.join(", ")} };`);
  return await import(new URL(`file://${file}`).href);
}

/** The languages of all blocks, section by section. */
export function languages(): [section: string, language: string][] {
  return RECIPES.split(/^## /m).slice(1).flatMap((text) => {
    const section = text.slice(0, text.indexOf("\n"));
    return [...text.matchAll(/^```(\S.*)$/gm)]
      .map(([, language]) => [section, language!] as [string, string]);
  });
}
