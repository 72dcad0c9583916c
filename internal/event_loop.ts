/** How far the event loop is behind the kernel. */

/**
 * How often the event loop turns until what the kernel has ready is here: in the
 * first turn Deno asks the kernel, in the next it completes operations, and only
 * in the one after it resolves their promises. A timer comes before the rest of its
 * turn, so there has to be one more.
 */
const TURNS = 4;
/** How many operations Deno completes in a turn, at the least: tokio's budget. */
const OPERATIONS_A_TURN = 128;

/** Resolves after so many ms; after 0, the event loop has turned. */
export function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/**
 * Resolves when the promises are resolved of everything that the kernel had ready
 * at the time of the call.
 *
 * @param operations How many reads and writes may be completed before the one that
 * is waited for.
 */
export async function caughtUp(operations: number): Promise<void> {
  const turns = TURNS + operations / OPERATIONS_A_TURN;
  for (let i = 0; i < turns; i++) await delay(0);
}
