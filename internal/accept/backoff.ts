/** The delay after the first failed accept, in ms: long enough not to spin. */
const MIN_DELAY = 5;
/** The longest delay, in ms. File descriptors may be free for so long before it is noticed. */
const MAX_DELAY = 1000;
/**
 * After how many vanished clients in a row there is a delay of MIN_DELAY. Without it, a
 * socket on which every accept fails would starve the event loop.
 */
const MAX_GONE_IN_A_ROW = 256;

/** The delays between accepts that fail. */
export class Backoff {
  readonly #onOver: () => void;
  #delay = MIN_DELAY; // of the next failure
  #isFailing = false; // since the last success
  #goneInARow = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isAlive = true;

  /** @param onOver Called when a delay is over. */
  constructor(onOver: () => void) {
    this.#onOver = onOver;
  }

  /** Must be called when an accept has succeeded. */
  succeed(): void {
    if (this.#goneInARow === 0 && !this.#isFailing) return;
    this.#goneInARow = 0;
    this.#isFailing = false;
    this.#delay = MIN_DELAY;
  }

  /** Begins a delay after a failure. Returns whether the accept before had succeeded. */
  fail(): boolean {
    const isFirst = !this.#isFailing;
    this.#isFailing = true;
    this.#begin(this.#delay);
    this.#delay = Math.min(this.#delay * 2, MAX_DELAY);
    return isFirst;
  }

  /** Must be called when a client was gone before its accept. Returns whether a delay begins. */
  onPeerGone(): boolean {
    const isTooMany = ++this.#goneInARow % MAX_GONE_IN_A_ROW === 0;
    if (isTooMany) this.#begin(MIN_DELAY);
    return isTooMany;
  }

  #begin(delay: number): void {
    this.#timer = setTimeout(this.#onOver, delay);
    if (!this.#isAlive) Deno.unrefTimer(this.#timer);
  }

  /** Ends a delay early. The next one is short again. */
  end(): void {
    clearTimeout(this.#timer);
    this.#delay = MIN_DELAY;
  }

  /** Sets whether a delay keeps the process alive. */
  keepAlive(isAlive: boolean): void {
    this.#isAlive = isAlive;
    if (this.#timer === undefined) return;
    if (isAlive) Deno.refTimer(this.#timer);
    else Deno.unrefTimer(this.#timer);
  }
}
