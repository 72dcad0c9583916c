/**
 * Lets the time of repeating timers go by when a test says so, until the end of the
 * scope. Each is a real timer still, so that one that is left behind is noticed.
 */
export class Clock implements Disposable {
  readonly #set = globalThis.setInterval;
  readonly #clear = globalThis.clearInterval;
  readonly #timers = new Map<unknown, { wake: () => void; every: number }>();
  #now = 0;

  constructor() {
    // Not as methods of this: a timer of the web has no other `this` than its own.
    const [setInterval, clearInterval] = [this.#set, this.#clear];
    const set = (wake: () => void, every: number) => {
      const timer = setInterval(() => {}, 2 ** 30);
      this.#timers.set(timer, { wake, every });
      return timer;
    };
    const clear = (timer?: number) => {
      this.#timers.delete(timer);
      clearInterval(timer);
    };
    Object.assign(globalThis, { setInterval: set, clearInterval: clear });
  }

  /** How many timers there are. */
  get timers(): number {
    return this.#timers.size;
  }

  /** Lets so many ms go by. */
  pass(ms: number): void {
    const end = this.#now + ms;
    while (this.#now < end) {
      this.#now++;
      for (const { wake, every } of [...this.#timers.values()]) {
        if (this.#now % every < 1) wake();
      }
    }
  }

  [Symbol.dispose](): void {
    Object.assign(globalThis, {
      setInterval: this.#set,
      clearInterval: this.#clear,
    });
  }
}
