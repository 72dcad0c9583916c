/**
 * Time that goes by when a test says so. To be imported before anything that takes
 * `setImmediate` when it is loaded, by tests that run in a thread of their own: from then
 * on timers are these, until the thread ends.
 *
 * @module
 */

interface Timer {
  at: number;
  every: number | undefined;
  wake: () => void;
}

const { setImmediate: realImmediate } = globalThis as unknown as {
  setImmediate(wake: () => void): void;
};
const timers = new Map<number, Timer>();
let immediates: (() => void)[] = [];
let now = 0;
let lastId = 2 ** 40; // no timer of Deno's

const add = (wake: () => void, ms = 0, every?: number) => {
  const after = Math.max(ms, 1);
  timers.set(++lastId, { at: now + after, every, wake });
  return lastId;
};
const clear = (id?: number) => {
  if (id !== undefined) timers.delete(id);
};
Object.assign(globalThis, {
  setTimeout: (wake: () => void, ms?: number) => add(wake, ms),
  setInterval: (wake: () => void, ms?: number) =>
    add(wake, ms, Math.max(ms ?? 0, 1)),
  clearTimeout: clear,
  clearInterval: clear,
  setImmediate: (wake: () => void) => void immediates.push(wake),
});
performance.now = () => now;
// Whether timers keep the process alive is not what this is for.
Deno.unrefTimer = Deno.refTimer = () => {};

/** How many timers there are. */
export function timerCount(): number {
  return timers.size;
}

/** Lets the event loop turn once: all microtasks are done, and immediates fire. */
export async function turn(): Promise<void> {
  await new Promise<void>((resolve) => realImmediate(resolve));
  const due = immediates;
  immediates = [];
  for (const wake of due) wake();
  await new Promise<void>((resolve) => realImmediate(resolve));
}

/** Lets the event loop turn until no immediate is left. */
export async function turnAll(): Promise<void> {
  do await turn(); while (immediates.length > 0);
}

/** Lets so many ms go by, and everything happen that is due meanwhile. */
export async function pass(ms: number): Promise<void> {
  const end = now + ms;
  for (;;) {
    let next: [number, Timer] | undefined;
    for (const each of timers) {
      if (each[1].at <= end && !(each[1].at >= next?.[1].at!)) next = each;
    }
    if (next === undefined) break;
    const [id, timer] = next;
    now = Math.max(now, timer.at);
    if (timer.every === undefined) timers.delete(id);
    else timer.at += timer.every;
    timer.wake();
    await turn();
  }
  now = end;
  await turn();
}
