/** Programs that tests run in a process of their own, because its end is what is tested. */

/** What a program left behind. */
export interface Outcome {
  code: number;
  stdout: string;
  stderr: string;
}

const MOD = new URL("../../mod.ts", import.meta.url).href;

/**
 * Runs a TypeScript program in which everything of the package is at hand as
 * `evconn`, with the given flags of `deno run`.
 */
export async function runProgram(
  program: string,
  ...flags: string[]
): Promise<Outcome> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-config", "--no-check", "--allow-net", ...flags, "-"],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
    env: { NO_COLOR: "1" },
  }).spawn();
  const output = child.output();
  const stdin = child.stdin.getWriter();
  const source = `import * as evconn from ${JSON.stringify(MOD)};\n${program}`;
  await stdin.write(new TextEncoder().encode(source));
  await stdin.close();
  const { code, stdout, stderr } = await output;
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes).trim();
  return { code, stdout: text(stdout), stderr: text(stderr) };
}
