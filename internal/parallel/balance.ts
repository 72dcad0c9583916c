import { nextTurn } from "../util/event_loop.ts";
import { HAS_BELLS, type Load, type Shown } from "./load.ts";

/** The first time after which a yielding worker probes the queue, in ms. Doubled each time. */
const MIN_DELAY = 1;
/** The longest time between two probes, in ms. */
const MAX_DELAY = 50;
/** After how long without a new connection all workers accept again, in ms. No timer runs then. */
const QUIET_TIME = 1000;

/** The socket of a worker, as its balance needs it. */
export interface BalanceOwner {
  /** Its load now. */
  readonly load: Shown;
  /** Accepts nothing until the returned object is disposed of. */
  yield(): Disposable;
}

/**
 * Decides when one worker yields to the others. While it yields, it probes whether they
 * accept new connections. It stops yielding when another worker wakes it.
 */
export class Balance {
  readonly #load: Load;
  readonly #owner: BalanceOwner;
  #yielding: Disposable | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined; // until the next probe
  #delay = MIN_DELAY; // of the timer
  #isProbing = false; // it accepts for one turn of the event loop
  #isQuiet = false; // no connection has come for QUIET_TIME, so it need not yield
  #arrivals = 0; // of all workers, at the last probe
  #quietSince = 0;
  #hasEnded = false;

  constructor(load: Load, owner: BalanceOwner) {
    this.#load = load;
    this.#owner = owner;
    load.onWake(() => this.update());
  }

  /** Must be called when a connection has come. */
  arrive(): void {
    this.#load.arrive();
    if (this.#isProbing) this.#load.noteMiss();
    this.#isProbing = false;
    this.#isQuiet = false;
    this.#arrivals = this.#load.arrivals; // no other worker has accepted it
    this.#quietSince = performance.now();
    this.#delay = MIN_DELAY;
    this.update();
  }

  /** Must be called after each change of the load. */
  update(): void {
    if (this.#hasEnded) return;
    const shown = this.#owner.load;
    this.#load.show(shown);
    if (this.#load.isFullAlone) this.#yieldAsFull();
    else if (this.#shouldYield()) this.#yieldAsBusier();
    else this.#stopYielding();
    // If no other worker can wake it, it has to look whether one has room.
    if (shown.isFull && !HAS_BELLS) {
      this.#timer = setTimeout(() => this.update(), MAX_DELAY);
    }
  }

  #shouldYield(): boolean {
    if (this.#isQuiet || !this.#load.shouldYield) return false;
    this.#load.yield();
    return this.#load.shouldYield;
  }

  /** Yields until no other worker has room. */
  #yieldAsFull(): void {
    this.#stopProbing();
    this.#yielding ??= this.#owner.yield();
  }

  #yieldAsBusier(): void {
    if (this.#isProbing || this.#timer !== undefined) return;
    this.#yielding ??= this.#owner.yield();
    this.#timer = setTimeout(() => this.#probe(), this.#delay);
  }

  #stopYielding(): void {
    this.#stopProbing();
    this.#load.stopYielding();
    this.#delay = MIN_DELAY;
    this.#release();
  }

  #release(): void {
    this.#yielding?.[Symbol.dispose]();
    this.#yielding = undefined;
  }

  #stopProbing(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#isProbing = false;
  }

  /** Accepts for one turn of the event loop, if the others have accepted nothing. */
  async #probe(): Promise<void> {
    this.#timer = undefined;
    const { arrivals } = this.#load;
    if (arrivals !== this.#arrivals) {
      this.#arrivals = arrivals;
      this.#quietSince = performance.now();
      return this.update(); // the others accept
    }
    this.#isQuiet = performance.now() - this.#quietSince >= QUIET_TIME;
    if (this.#isQuiet) return this.update();
    this.#isProbing = true;
    this.#release();
    await nextTurn(() => this.#isProbing);
    if (!this.#isProbing) return; // a connection has come, or it does not yield any more
    this.#isProbing = false;
    this.#delay = Math.min(this.#delay * 2, MAX_DELAY);
    this.update();
  }

  /** Ends the balance. No other worker yields to this one any more. */
  end(): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#load.leave();
    this.#stopProbing();
    this.#release();
  }
}
