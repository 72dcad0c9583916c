/** C programs, compiled when they are needed. */
import { installed, run } from "./process.ts";

/** Where programs are kept that are compiled or installed for the benchmark. */
export const build = `${import.meta.dirname}/.build`;

/** Compiles a file of this directory, and returns the program's path. Throws if it cannot. */
export async function compile(
  source: string,
  ...flags: string[]
): Promise<string> {
  if (!await installed("cc")) throw new Error("cc is not installed");
  const program = `${build}/${source.replaceAll("/", "_").replace(/\.c$/, "")}`;
  await Deno.mkdir(build, { recursive: true });
  const path = `${import.meta.dirname}/${source}`;
  await run(["cc", "-O2", "-o", program, path, ...flags]);
  return program;
}
