/** How far the event loop is behind the kernel. */

/**
 * How often an immediate fires until everything is here that was ready: Deno asks
 * the kernel once in 61 of them, which tells it of 1,024 sockets at most, and then
 * completes 128 operations. An accept behind 6,000 readable connections came in the
 * 16th of such rounds, one behind 9,000 in the 19th.
 */
const IMMEDIATES = 24 * 61;
/** The same in timers, for older versions: they ask the kernel at each of either. */
const TIMERS = 64;
/** An operation that had to yield, because its turn had no operations left, goes on by then. */
const NEXT_TURN = 3;

/** Deno has it since 2.0, and in its types only later. */
const { setImmediate } = globalThis as unknown as {
  setImmediate(callback: () => void): void;
};

/**
 * Resolves when everything has been done that the kernel had ready at the time of
 * the call.
 *
 * @param goOn Asked time and again; ends the wait when it says no.
 */
export async function caughtUp(goOn: () => boolean): Promise<void> {
  let timers = 0;
  const count = () => {
    timers++;
    timer = setTimeout(count);
  };
  let timer = setTimeout(count);
  await immediates(IMMEDIATES, () => timers < TIMERS && goOn());
  clearTimeout(timer);
}

/** Resolves when what was ready in this turn of the event loop, and had to yield, is done. */
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
