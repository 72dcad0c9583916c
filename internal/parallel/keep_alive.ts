/** Whether a worker keeps the process of its parent alive. */

/**
 * Deno's workers have no `ref()` and `unref()`. But they have a method that Deno's
 * `node:worker_threads` uses for this, under a symbol without a description.
 */
const [ref] = Object.getOwnPropertySymbols(Worker.prototype)
  .filter((symbol) => symbol.description === undefined);

/** Sets whether a worker keeps the process alive. Deno counts calls: only call it for a change. */
export function keepAlive(worker: Worker, isKept: boolean): void {
  if (ref === undefined) return; // a later Deno may not have it
  (worker as unknown as Record<symbol, (isRef: boolean) => void>)[ref]!(isKept);
}
