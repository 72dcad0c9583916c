/** Whether a worker keeps the process of its parent alive. */

/**
 * Deno's workers have no `ref()` and `unref()`. But Deno's `node:worker_threads` is built
 * upon them, and they have a method for it, under a symbol without a description.
 */
const [ref] = Object.getOwnPropertySymbols(Worker.prototype)
  .filter((symbol) => symbol.description === undefined);

/** Lets a worker keep the process alive, or not. It counts: call it once for a change. */
export function keepAlive(worker: Worker, isKept: boolean): void {
  if (ref === undefined) return; // a later Deno may do without
  (worker as unknown as Record<symbol, (isRef: boolean) => void>)[ref]!(isKept);
}
