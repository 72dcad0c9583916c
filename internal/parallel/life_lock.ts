/**
 * A worker that ends by `self.close()` or `Deno.exit()` says nothing. But the lock that
 * it has held is free then. Deno has Web Locks since 2.9; before that nobody notices.
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

/** Holds a lock until this thread ends. Resolves when it is held. */
export function holdForLife(name: string): Promise<void> {
  return new Promise((resolve) => {
    if (!locks) return resolve();
    locks.request(name, {}, () => {
      resolve();
      return new Promise(() => {});
    });
  });
}

/** Calls back when the thread that holds a lock has ended, unless the signal is aborted. */
export function onDeath(
  name: string,
  signal: AbortSignal,
  callback: () => void,
): void {
  locks?.request(name, { signal }, callback).catch(() => {}); // aborted
}

/** Whether the thread that holds a lock may be there still. */
export async function mayLive(name: string): Promise<boolean> {
  if (!locks) return true;
  return await locks.request(
    name,
    { ifAvailable: true },
    (lock) => lock === null,
  ) as boolean;
}
