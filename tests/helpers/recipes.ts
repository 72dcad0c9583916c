/** The blocks of docs/recipes.md that are no TypeScript. */

const RECIPES = await Deno.readTextFile(
  new URL("../../docs/recipes.md", import.meta.url),
);

/** The one block in a language of a section. */
export function recipe(section: string, language: string): string {
  const sections = RECIPES.split(/^## /m);
  const own = sections.find((text) => text.startsWith(`${section}\n`)) ?? "";
  const [, block, ...others] = own.split("```" + language + "\n");
  if (block === undefined || others.length > 0) {
    throw new Error(`Not one ${language} block in "${section}"`);
  }
  return block.slice(0, block.indexOf("```"));
}

/** The languages of all blocks, section by section. */
export function languages(): [section: string, language: string][] {
  return RECIPES.split(/^## /m).slice(1).flatMap((text) => {
    const section = text.slice(0, text.indexOf("\n"));
    return [...text.matchAll(/^```(\S.*)$/gm)]
      .map(([, language]) => [section, language!] as [string, string]);
  });
}
