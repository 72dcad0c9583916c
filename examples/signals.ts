/** How all examples end on Ctrl-C and SIGTERM. */

/**
 * A terminal sends Ctrl-C to every process, and `deno task` and npx forward theirs. Within
 * so many ms it is the same key press.
 */
const SAME_KEY_PRESS = 500;

/**
 * Calls back on each Ctrl-C or SIGTERM, and says whether it is the first: on the first a
 * server drains, on the next it ends at once.
 */
export function onEndSignal(end: (again: boolean) => void): void {
  let first: { signal: Deno.Signal; time: number } | undefined;
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    // On Windows nothing sends SIGTERM.
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
