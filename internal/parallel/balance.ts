import { nextTurn } from "../util/event_loop.ts";
import { HAS_BELLS, type Load, type Shown } from "./load.ts";

/** How soon a worker that yields looks whether the others accept, in ms. Doubled each time. */
const MIN_WAIT = 1;
/** The longest time between two looks, in ms. */
const MAX_WAIT = 50;
/** After so long without an arrival all workers accept again, in ms, and nothing runs. */
const QUIET = 1000;

/** What keeps its load even: a listener in a worker. */
export interface Balanced {
  /** How it is now. */
  readonly load: Shown;
  /** Begins or ends no accept, until what this gives is disposed of. */
  yield(): Disposable;
}

/**
 * Keeps one worker even with the others: decides when it yields, looks whether the others
 * take what comes, and goes on when another worker wakes it.
 */
export class Balance {
  readonly #load: Load;
  readonly #host: Balanced;
  #yielding: Disposable | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined; // until the next look
  #wait = MIN_WAIT; // for it
  #isLooking = false; // it accepts, for a turn of the event loop
  #isResting = false; // it is ahead, and accepts as nobody has come for long
  #arrivals = 0; // of all workers, when it looked last
  #quietSince = 0;
  #hasEnded = false;

  constructor(load: Load, host: Balanced) {
    this.#load = load;
    this.#host = host;
    load.onWake(() => this.update());
  }

  /** A connection has come. */
  arrive(): void {
    this.#load.arrive();
    if (this.#isLooking) this.#load.miss();
    this.#isLooking = false;
    this.#isResting = false;
    this.#arrivals = this.#load.arrivals; // nobody else has taken this one
    this.#quietSince = performance.now();
    this.#wait = MIN_WAIT;
    this.update();
  }

  /** Must be called after each change of what the host says. */
  update(): void {
    if (this.#hasEnded) return;
    const shown = this.#host.load;
    this.#load.show(shown);
    if (this.#load.isFullAlone) this.#yieldAsFull();
    else if (this.#isAhead()) this.#yieldAsAhead();
    else this.#goOn();
    // Where no other worker can wake it, it looks whether one has room.
    if (shown.isFull && !HAS_BELLS) {
      this.#timer = setTimeout(() => this.update(), MAX_WAIT);
    }
  }

  #isAhead(): boolean {
    if (this.#isResting || !this.#load.isAhead) return false;
    this.#load.yield();
    return this.#load.isAhead;
  }

  /** Until another worker says that none has room. */
  #yieldAsFull(): void {
    this.#stopLooking();
    this.#yielding ??= this.#host.yield();
  }

  #yieldAsAhead(): void {
    if (this.#isLooking || this.#timer !== undefined) return;
    this.#yielding ??= this.#host.yield();
    this.#timer = setTimeout(() => this.#look(), this.#wait);
  }

  #goOn(): void {
    this.#stopLooking();
    this.#load.goOn();
    this.#wait = MIN_WAIT;
    this.#release();
  }

  #release(): void {
    this.#yielding?.[Symbol.dispose]();
    this.#yielding = undefined;
  }

  #stopLooking(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#isLooking = false;
  }

  /** Accepts what the others have left in the queue, for a turn of the event loop. */
  async #look(): Promise<void> {
    this.#timer = undefined;
    const { arrivals } = this.#load;
    if (arrivals !== this.#arrivals) {
      this.#arrivals = arrivals;
      this.#quietSince = performance.now();
      return this.update(); // they accept what comes
    }
    this.#isResting = performance.now() - this.#quietSince >= QUIET;
    if (this.#isResting) return this.update();
    this.#isLooking = true;
    this.#release();
    await nextTurn(() => this.#isLooking);
    if (!this.#isLooking) return; // a connection has come, or it goes on anyway
    this.#isLooking = false;
    this.#wait = Math.min(this.#wait * 2, MAX_WAIT);
    this.update();
  }

  /** Yields no more, and no other worker yields to this one. */
  end(): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#load.leave();
    this.#stopLooking();
    this.#release();
  }
}
