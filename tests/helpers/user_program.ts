/** A program of a user, who has the package from JSR and nothing else of this repository. */
import { Process } from "./example_process.ts";
import { name, serveRegistry, version } from "./registry.ts";
import { TempDir } from "./temp_dir.ts";

/**
 * Saves files in a folder of their own, and runs a command there.
 *
 * @param files The files' texts, by name.
 * @param command Without `deno`. `$PWD` is the folder. Types are not checked.
 */
export async function startUserProgram(
  files: Record<string, string>,
  command: string,
): Promise<AsyncDisposable & { process: Process; folder: string }> {
  await using stack = new AsyncDisposableStack();
  const { url } = stack.use(await serveRegistry());
  const { path: folder } = stack.use(new TempDir());
  const imports = { [name]: `jsr:${name}@${version}` };
  const all = { ...files, "deno.json": JSON.stringify({ imports }) };
  for (const [file, text] of Object.entries(all)) {
    await Deno.writeTextFile(`${folder}/${file}`, text);
  }
  const [run, ...args] = command.replaceAll("$PWD", folder).split(" ");
  const process = stack.use(
    new Process(
      Deno.execPath(),
      [run!, "--quiet", "--no-check", "--no-prompt", ...args],
      { JSR_URL: url, DENO_DIR: `${folder}/cache` },
      undefined,
      folder,
    ),
  );
  return Object.assign(stack.move(), { process, folder });
}
