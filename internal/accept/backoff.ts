/** The first wait after a failed accept, in ms: long enough not to spin. */
const MIN_WAIT = 5;
/** The longest, in ms: how late it may be noticed that descriptors are back. */
const MAX_WAIT = 1000;
/**
 * After how many vanished clients in a row there is a wait of MIN_WAIT. Without it, a
 * socket on which every accept fails would starve the event loop.
 */
const MAX_GONE_IN_A_ROW = 256;

/** The waits between accepts that fail. */
export class Backoff {
  readonly #onOver: () => void;
  #wait = MIN_WAIT; // after the next failure
  #isFailing = false; // since the last success
  #goneInARow = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isAlive = true;

  /** @param onOver Called when a wait is over. */
  constructor(onOver: () => void) {
    this.#onOver = onOver;
  }

  /** An accept has succeeded. */
  succeed(): void {
    if (this.#goneInARow === 0 && !this.#isFailing) return;
    this.#goneInARow = 0;
    this.#isFailing = false;
    this.#wait = MIN_WAIT;
  }

  /** An accept has failed: begins a wait, and says whether the accept before had succeeded. */
  fail(): boolean {
    const isFirst = !this.#isFailing;
    this.#isFailing = true;
    this.#begin(this.#wait);
    this.#wait = Math.min(this.#wait * 2, MAX_WAIT);
    return isFirst;
  }

  /** A client was gone before it was accepted. Says whether a wait begins. */
  miss(): boolean {
    const isTooMany = ++this.#goneInARow % MAX_GONE_IN_A_ROW === 0;
    if (isTooMany) this.#begin(MIN_WAIT);
    return isTooMany;
  }

  #begin(wait: number): void {
    this.#timer = setTimeout(this.#onOver, wait);
    if (!this.#isAlive) Deno.unrefTimer(this.#timer);
  }

  /** Ends a wait early. The next one is short again. */
  end(): void {
    clearTimeout(this.#timer);
    this.#wait = MIN_WAIT;
  }

  /** Says whether a wait is to keep the process alive. */
  keepAlive(isAlive: boolean): void {
    this.#isAlive = isAlive;
    if (this.#timer === undefined) return;
    if (isAlive) Deno.refTimer(this.#timer);
    else Deno.unrefTimer(this.#timer);
  }
}
