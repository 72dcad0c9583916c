/**
 * Runs `deno test` with the given arguments, and says after its results which
 * tests were left out on this machine, and why. What a test file says while it
 * is loaded has scrolled away by then.
 *
 * ```sh
 * deno run -A tests/run.ts -A --doc tests/proxy/haproxy_test.ts
 * ```
 *
 * @module
 */
import { LEFT_OUT_FILE } from "./helpers/missing.ts";

const SIGNALS: readonly Deno.Signal[] = Deno.build.os === "windows"
  ? ["SIGINT"]
  : ["SIGINT", "SIGTERM", "SIGHUP"];

/** Runs the tests, and resolves to their exit code. They end at a signal, not this. */
async function runTests(args: string[], leftOut: string): Promise<number> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["test", ...args],
    env: { [LEFT_OUT_FILE]: leftOut },
  }).spawn();
  for (const signal of SIGNALS) {
    Deno.addSignalListener(signal, () => {
      try {
        child.kill(signal); // a terminal has told it, too; once is enough for it
      } catch { /* it has ended */ }
    });
  }
  return (await child.status).code;
}

const leftOut = await Deno.makeTempFile();
const code = await runTests(Deno.args, leftOut);
const lines = (await Deno.readTextFile(leftOut)).split("\n");
const reasons = new Set(lines.filter((line) => line !== ""));
await Deno.remove(leftOut);
if (reasons.size > 0) {
  const list = [...reasons].sort().map((reason) => `  ${reason}`).join("\n");
  console.error(`Tests were left out:\n${list}`);
}
Deno.exit(code);
