/**
 * Half a second after its start, Deno begins to wait for SIGUSR1. That takes two file
 * descriptors, and Deno panics if none is free. By then, clients may have taken all.
 */

import { isSince } from "./deno_version.ts";

/** The first version of Deno that does so. */
const FIRST = [2, 9, 2];

let areTaken = false;

/**
 * Makes Deno take these descriptors now. Call it when a socket has been made, before
 * a connection is accepted.
 *
 * Any signal listener has that effect, and Deno keeps the descriptors when the listener
 * is removed. SIGURG is ignored by default, so no signal is lost meanwhile.
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
    // The listener works without them.
  }
}

/**
 * Whether Deno waits for SIGUSR1. If it does not, a signal listener here would be the
 * first, and change the program: SIGHUP would end it although nohup has started it.
 */
function waitsForSignals(): boolean {
  const { os, standalone } = Deno.build;
  return os !== "windows" && !standalone && isSince(...FIRST);
}
