/** How often a sweep looks, as a part of its timeout, and at the most, in ms. */
const PARTS = 8;
const MAX_TICK = 800;

/**
 * Who waits, and one coarse timer for any number of waits of the same length. It runs only while
 * something waits, never keeps the process alive, and takes time in turns of the event
 * loop: while the loop is blocked, none goes by.
 */
export class Sweep<T> {
  readonly #tick: number; // in ms
  readonly #ticks: number; // how many a wait has
  readonly #onTimeout: (item: T) => void;
  /** When each began to wait, in ticks. */
  readonly #since = new Map<T, number>();
  #now = 0;
  #ended = false;
  #timer: ReturnType<typeof setInterval> | undefined;

  /**
   * @param timeout How long a wait may be, in ms. It is an eighth longer at the most, or
   * 0.8 s, whichever is less. With Infinity, nothing ever ends one.
   * @param onTimeout Told when a wait is over.
   */
  constructor(timeout: number, onTimeout: (item: T) => void) {
    const parts = Math.max(PARTS, Math.ceil(timeout / MAX_TICK));
    this.#tick = timeout / parts;
    this.#ticks = parts + 1; // it may begin anywhere in the first
    this.#onTimeout = onTimeout;
  }

  /** How many wait. */
  get size(): number {
    return this.#since.size;
  }

  has(item: T): boolean {
    return this.#since.has(item);
  }

  [Symbol.iterator](): Iterator<T> {
    return this.#since.keys();
  }

  /** Begins a wait, or begins it anew. */
  watch(item: T): void {
    this.#since.set(item, this.#now);
    if (this.#timer !== undefined || this.#ticks === Infinity) return;
    this.#timer = setInterval(() => this.#look(), this.#tick);
    Deno.unrefTimer(this.#timer);
  }

  /** Ends a wait, and says whether there was one. */
  forget(item: T): boolean {
    const waited = this.#since.delete(item);
    // Later it would do as well, and cost nothing for each wait.
    if (this.#ended) this.#rest();
    return waited;
  }

  /** There will be no new waits: the timer goes with the last. */
  end(): void {
    this.#ended = true;
    this.#rest();
  }

  #look(): void {
    this.#now++;
    for (const [item, since] of this.#since) {
      if (this.#now - since < this.#ticks) continue;
      this.#since.delete(item);
      this.#onTimeout(item);
    }
    this.#rest();
  }

  #rest(): void {
    if (this.#since.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
