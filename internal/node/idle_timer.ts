/** The timeout of a socket: called back when nothing has happened for so many ms. */

/**
 * Node's rule: it calls back once, and again only after something has happened. One
 * timer runs through many reads and writes, which only put off its end.
 */
export class IdleTimer {
  readonly #onTimeout: () => void;
  #ms = 0;
  #end = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** When the timer fires. It may find then that the end has been put off. */
  #due = Infinity;

  constructor(onTimeout: () => void) {
    this.#onTimeout = onTimeout;
  }

  /** How long the silence may last, in ms; 0 is for ever. */
  get ms(): number {
    return this.#ms;
  }

  set ms(ms: number) {
    this.#ms = ms;
    this.touch();
  }

  /** Something has happened. */
  touch(): void {
    if (this.#ms === 0) return;
    this.#end = performance.now() + this.#ms;
    if (this.#end >= this.#due) return;
    clearTimeout(this.#timer);
    this.#wait(this.#ms);
  }

  /** Never calls back again. */
  stop(): void {
    this.#ms = 0;
    clearTimeout(this.#timer);
  }

  #wait(ms: number): void {
    this.#due = performance.now() + ms;
    this.#timer = setTimeout(() => this.#look(), ms);
    Deno.unrefTimer(this.#timer); // its connection keeps the process alive
  }

  #look(): void {
    this.#due = Infinity;
    if (this.#ms === 0) return;
    const left = this.#end - performance.now();
    if (left > 0) this.#wait(left);
    else this.#onTimeout();
  }
}
