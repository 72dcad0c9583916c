/** A point in time that may be brought forward, and never put off. */
export class Deadline {
  readonly #over = Promise.withResolvers<void>();
  #isOver = false;
  #isCleared = false;
  #at = Infinity;
  #timer: ReturnType<typeof setTimeout> | undefined;

  get isOver(): boolean {
    return this.#isOver;
  }

  /** How much time is left, in ms. */
  get left(): number {
    return Math.max(this.#at - performance.now(), 0);
  }

  /** Resolves when the time has come. */
  get over(): Promise<void> {
    return this.#over.promise;
  }

  /** Brings the time forward to so many ms from now, unless it is sooner already. */
  limit(ms: number): void {
    const at = performance.now() + ms;
    if (this.#isCleared || at >= this.#at) return;
    this.#at = at;
    clearTimeout(this.#timer);
    if (ms === 0) this.#end();
    else this.#timer = setTimeout(() => this.#end(), ms);
  }

  #end(): void {
    this.#isOver = true;
    this.#over.resolve();
  }

  /** Stops the timer: the time never comes. */
  clear(): void {
    this.#isCleared = true;
    clearTimeout(this.#timer);
  }
}
