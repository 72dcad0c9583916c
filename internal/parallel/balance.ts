import { nextTurn } from "../util/event_loop.ts";
import { HAS_BELLS, type Load } from "./load.ts";

/** How soon a worker that yields looks whether the others accept, in ms. Doubled each time. */
const MIN_WAIT = 1;
/** The longest time between two looks, in ms. */
const MAX_WAIT = 50;
/** After so long without an arrival all workers accept again, in ms, and nothing runs. */
const QUIET = 1000;

/** What keeps its load even: a listener in a worker. */
export interface Balanced {
  /** How many connections it holds: active ones, and those that wait to be delivered. */
  readonly held: number;
  /** Whether it would turn a client away, because it has no place left. */
  readonly isFull: boolean;
  /** Whether it accepts, unless it yields. */
  readonly isOpen: boolean;
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
    this.#wait = MIN_WAIT;
    this.update();
  }

  /** Must be called after each change of what the host says. */
  update(): void {
    if (this.#hasEnded) return;
    const { held, isFull, isOpen } = this.#host;
    this.#load.show(held, isFull, isOpen);
    if (this.#load.isFullAlone) this.#yieldAsFull();
    else if (this.#isAhead()) this.#yieldAsAhead();
    else this.#goOn();
    // Where no other worker can wake it, it looks whether one has room.
    if (isFull && !HAS_BELLS) {
      this.#timer = setTimeout(() => this.update(), MAX_WAIT);
    }
  }

  /**
   * Another worker wakes the one that is shown to yield, when it is not ahead any more.
   * That may have been just before it was shown: so it is looked at again.
   */
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
    if (this.#isQuiet()) {
      this.#isResting = true;
      return this.update();
    }
    this.#isLooking = true;
    this.#release();
    await nextTurn(() => this.#isLooking);
    if (!this.#isLooking) return; // a connection has come, or it goes on anyway
    this.#isLooking = false;
    this.#wait = Math.min(this.#wait * 2, MAX_WAIT);
    this.update();
  }

  #isQuiet(): boolean {
    const { arrivals } = this.#load;
    const now = performance.now();
    if (arrivals !== this.#arrivals) this.#quietSince = now;
    this.#arrivals = arrivals;
    return now - this.#quietSince >= QUIET;
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
