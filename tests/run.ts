/**
 * Checks the types of everything once, then runs `deno test` with the given
 * arguments, and says after its results which tests were left out on this machine,
 * and why. What a test file says while it is loaded has scrolled away by then.
 *
 * ```sh
 * deno run -A tests/run.ts -A --doc tests/proxy/haproxy_test.ts
 * ```
 *
 * Without the check, `deno test` would check the types of a worker's module each
 * time a test starts a worker. With `--no-check` nothing is checked.
 *
 * @module
 */
import { LEFT_OUT_FILE } from "./helpers/missing.ts";

const SIGNALS: readonly Deno.Signal[] = Deno.build.os === "windows"
  ? ["SIGINT"]
  : ["SIGINT", "SIGTERM", "SIGHUP"];

/** The arguments that say where modules are. */
const MODULE_FLAG = /^--(import-map|config|no-config|lock|no-lock)(=|$)/;

/** Runs Deno, and resolves to its exit code. A signal ends that, not this program. */
async function deno(
  args: string[],
  env: Record<string, string> = {},
): Promise<number> {
  const child = new Deno.Command(Deno.execPath(), { args, env }).spawn();
  for (const signal of SIGNALS) {
    Deno.addSignalListener(signal, () => {
      try {
        child.kill(signal); // a terminal has told it, too; once is enough for it
      } catch { /* it has ended */ }
    });
  }
  return (await child.status).code;
}

/** Checks the types of all files in this folder, and of the examples in their comments. */
async function checkTypes(args: string[]): Promise<number> {
  const flags = args.filter((arg) => MODULE_FLAG.test(arg));
  return await deno(["check", "--quiet", "--doc", ...flags, "."]);
}

/** Where servers are installed that a user runs seldom: not in every user's PATH. */
const SERVERS = "/usr/local/sbin:/usr/sbin:/sbin";

/** The environment with this file for the reasons why tests are left out. */
function environment(file: string): Record<string, string> {
  const env = { [LEFT_OUT_FILE]: file };
  if (Deno.build.os === "windows") return env;
  return { ...env, PATH: `${Deno.env.get("PATH") ?? ""}:${SERVERS}` };
}

/** Runs the tests, and says what was left out. */
async function runTests(args: string[]): Promise<number> {
  const file = await Deno.makeTempFile();
  const code = await deno(["test", "--no-check", ...args], environment(file));
  const lines = (await Deno.readTextFile(file)).split("\n");
  await Deno.remove(file);
  const reasons = new Set(lines.filter((line) => line !== ""));
  if (reasons.size > 0) {
    const list = [...reasons].sort().map((reason) => `  ${reason}`).join("\n");
    console.error(`Tests were left out:\n${list}`);
  }
  return code;
}

const args = Deno.args.filter((arg) => arg !== "--no-check");
const isChecked = args.length === Deno.args.length;
const code = isChecked ? await checkTypes(args) : 0;
Deno.exit(code === 0 ? await runTests(args) : code);
