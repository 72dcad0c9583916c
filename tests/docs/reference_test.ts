/** The reference, as `deno doc` and JSR make it of the comments. */
import { assertEquals, assertGreater } from "@std/assert";
import { exports, publishedFiles } from "../helpers/registry.ts";
import { TempDir } from "../helpers/temp_dir.ts";

const entries: string[] = Object.values(exports);

/** The names of all symbols that have a page. */
async function symbols(): Promise<Set<string>> {
  await using dir = new TempDir();
  const { code, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["doc", "--html", "--name=x", `--output=${dir.path}`, ...entries],
    cwd: new URL("../..", import.meta.url),
  }).output();
  assertEquals(code, 0, new TextDecoder().decode(stderr));
  return new Set(pages(dir.path));
}

/** The names of all pages in a folder. */
function* pages(folder: string): Iterable<string> {
  for (const { name, isDirectory } of Deno.readDirSync(folder)) {
    if (isDirectory) yield* pages(`${folder}/${name}`);
    else if (name.endsWith(".html")) yield name.replace(/\.html$/, "");
  }
}

// Of a link that leads nowhere, deno doc makes plain text, and says nothing.
Deno.test("reference: all links to symbols lead somewhere", async () => {
  const known = await symbols();
  const links: string[] = [];
  for (const [path, bytes] of await publishedFiles()) {
    if (!path.endsWith(".ts")) continue;
    const text = new TextDecoder().decode(bytes);
    for (const [, name] of text.matchAll(/\{@link(?:code)? ([^\s}]+)/g)) {
      links.push(name!);
    }
  }
  assertGreater(links.length, 20);
  assertEquals(links.filter((name) => !known.has(name)), []);
});
