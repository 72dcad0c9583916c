/** Work of so many µs, for every engine: V8 and JavaScriptCore. */

const BATCH = 1000;
const BATCHES = 2000;

function compute(steps) {
  let x = 1;
  for (let i = 0; i < steps; i++) x = Math.imul(x ^ (x >>> 15), 0x2c1b3c6d) | 1;
  return x;
}

/**
 * A function that computes for so many µs of CPU time. It counts its steps and does
 * not look at the clock, which goes on while the thread has no core.
 */
export function newWork(us) {
  if (us === 0) return () => {};
  const times = Array.from({ length: BATCHES }, () => {
    const start = performance.now();
    compute(BATCH);
    return performance.now() - start;
  });
  const ms = times.sort((a, b) => a - b)[BATCHES / 2]; // few were disturbed
  const steps = Math.round(us / 1000 / ms * BATCH);
  return () => compute(steps);
}
