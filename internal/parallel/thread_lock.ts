/**
 * Finds out when a worker has ended. One that ends itself by `self.close()` or
 * `Deno.exit()` sends no message, but its Web Lock is then free. Deno has Web Locks since
 * 2.9; in earlier versions, such an end is not noticed.
 */

/** Not in Deno's types before 2.9. */
interface Locks {
  request(
    name: string,
    options: { signal?: AbortSignal; ifAvailable?: boolean },
    callback: (lock: object | null) => unknown,
  ): Promise<unknown>;
}

const { locks } = navigator as unknown as { locks?: Locks };

/** Holds a lock until this thread ends. Resolves when the lock is held. */
export function holdLock(name: string): Promise<void> {
  return new Promise((resolve) => {
    if (!locks) return resolve();
    locks.request(name, {}, () => {
      resolve();
      return new Promise(() => {});
    });
  });
}

/** Calls back when a lock is free: its thread has ended. Not after the signal is aborted. */
export function onUnlock(
  name: string,
  signal: AbortSignal,
  callback: () => void,
): void {
  locks?.request(name, { signal }, callback).catch(() => {}); // aborted
}

/** Whether a lock may still be held: its thread may be running. */
export async function mayBeHeld(name: string): Promise<boolean> {
  if (!locks) return true;
  return await locks.request(
    name,
    { ifAvailable: true },
    (lock) => lock === null,
  ) as boolean;
}
