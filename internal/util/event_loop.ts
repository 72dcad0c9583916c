/** Waiting until the event loop has done what the kernel has ready. */
import { isSince } from "./deno_version.ts";

/**
 * After how many rounds of the event loop everything is done that was ready. In each
 * round, Deno gets 1,024 ready sockets at most from the kernel, and completes 128
 * operations. An accept behind 6,000 readable connections came in the 17th round, and
 * behind 9,000 in the 19th.
 */
const ROUNDS = 24;
/** How often an immediate fires in a round. Until Deno 2.6, each of them was a round. */
const IMMEDIATES = isSince(2, 6) ? 61 : 1;
/** After how many immediates an operation goes on that had to wait for the next turn. */
const NEXT_TURN = 3;

/** Not in Deno's types before 2.9, and not in the first versions of Deno 2. */
const { setImmediate = setTimeout } = globalThis as unknown as {
  setImmediate?(callback: () => void): void;
};

/**
 * Resolves when everything has been done that the kernel had ready at the time of
 * the call.
 *
 * @param goOn Called repeatedly. The wait ends when it returns false.
 */
export function caughtUp(goOn: () => boolean): Promise<void> {
  return immediates(ROUNDS * IMMEDIATES, goOn);
}

/** Resolves when operations are done that this turn of the event loop has put off. */
export function nextTurn(goOn: () => boolean): Promise<void> {
  return immediates(NEXT_TURN, goOn);
}

function immediates(count: number, goOn: () => boolean): Promise<void> {
  return new Promise((resolve) => {
    const next = () => {
      if (count-- > 0 && goOn()) setImmediate(next);
      else resolve();
    };
    next();
  });
}
