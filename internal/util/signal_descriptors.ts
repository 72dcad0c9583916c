/**
 * Deno waits for SIGUSR1 from half a second after its start. That takes two file
 * descriptors, and Deno panics if there are none: clients that come at once can have
 * taken all of them by then.
 */

/** The first version of Deno that does so. */
const FIRST = [2, 9, 2];

let areTaken = false;

/**
 * Makes Deno take these descriptors now. Call it when a socket has been made, before
 * a connection is accepted.
 *
 * Any signal listener has that effect, and Deno keeps the descriptors when it is
 * removed. SIGURG is ignored by default, so none is lost in between.
 */
export function takeSignalDescriptors(): void {
  if (areTaken) return;
  areTaken = true;
  if (!waitsForSignals()) return;
  const listener = () => {};
  try {
    Deno.addSignalListener("SIGURG", listener);
    Deno.removeSignalListener("SIGURG", listener);
  } catch {
    // The listener works without.
  }
}

/**
 * Whether Deno waits by itself. Where it does not, the effects of a first signal
 * listener would be new: SIGHUP then ends a program that was started by nohup.
 */
function waitsForSignals(): boolean {
  const { os, standalone } = Deno.build;
  return os !== "windows" && !standalone && isSince(FIRST);
}

function isSince(version: number[]): boolean {
  const ours = Deno.version.deno.split(".").map((part) => parseInt(part));
  const at = version.findIndex((part, i) => part !== ours[i]);
  return at === -1 || ours[at]! > version[at]!;
}
