/** Ending on Ctrl-C and SIGTERM, as every example does. */

/**
 * A terminal sends Ctrl-C to every process, and `deno task` and npx pass theirs on:
 * within so many ms it is the same key press.
 */
const SAME_KEY_PRESS = 500;

/**
 * Calls back at each Ctrl-C or SIGTERM, and says whether it is another one: the
 * first asks a server to drain, the next to end at once.
 */
export function onEndSignal(end: (again: boolean) => void): void {
  let first: { signal: Deno.Signal; time: number } | undefined;
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    // Windows has no SIGTERM.
    if (Deno.build.os === "windows" && signal === "SIGTERM") continue;
    Deno.addSignalListener(signal, () => {
      const time = performance.now();
      const isEcho = first?.signal === signal &&
        time - first.time < SAME_KEY_PRESS;
      if (!isEcho) end(first !== undefined);
      first ??= { signal, time };
    });
  }
}
