/**
 * The load of each worker, in memory that all workers share.
 *
 * The kernel gives a connection to the first socket that accepts, which is often the same
 * one. So a worker *yields*: it accepts nothing for a while, and leaves the connections to
 * the others. It yields if it holds at least 4 connections more than another worker. With
 * `overflow: "reject"`, it also yields if it is full and another worker has room, because
 * clients are rejected only when all workers are full.
 */
import { isSince } from "../util/deno_version.ts";

// The header of the memory.
/** How many slots are or were in use. */
const USED = 0;
/** How many connections have come to all workers. */
const ARRIVALS = 1;
const HEADER = 2;

// The fields of a slot.
const STATE = 0;
/** How many connections the worker holds. */
const HELD = 1;
/** How many connections have come to the worker. */
const OWN_ARRIVALS = 2;
/** Changed to wake the worker, which waits for a change. */
const BELL = 3;
const FIELDS = 4;

// The states of a worker.
/** It accepts nothing, for another reason than the load; or the slot is not in use. */
const CLOSED = 0;
/** It accepts connections. */
const ACCEPTING = 1;
/** It yields to a worker that holds fewer connections. */
const YIELDING = 2;
/** It has no room, and would reject a client. */
const FULL = 3;

/** A worker yields if it holds so many connections more than another one. */
const YIELD_MARGIN = 4;
/** It is woken when it holds no more than so many connections more. */
const WAKE_MARGIN = 2;
/**
 * How many connections a less loaded worker may miss. If it misses more, it counts as
 * blocked, and no worker yields to it until it accepts again.
 */
const MAX_MISSED = 5;
/** How many slots there are for threads that have ended, but may still run in a loop. */
const SPARE = 64;

/**
 * Whether a worker can wait for its bell. `Atomics.waitAsync` wakes an idle event loop
 * since Deno 2.7. In earlier versions, a worker that yields looks from time to time.
 */
export const HAS_BELLS: boolean = isSince(2, 7);

/** Not in all of Deno's types. */
const { waitAsync } = Atomics as unknown as {
  waitAsync(
    numbers: Int32Array,
    index: number,
    value: number,
  ): { value: Promise<unknown> | string };
};

/** The slots of the threads, given out by the parent. */
export class Slots {
  readonly buffer: SharedArrayBuffer;
  readonly #free: number[]; // the next one is the last

  /** @param workers The number of workers. Each may have two threads during a restart. */
  constructor(workers: number) {
    const count = 2 * workers + SPARE;
    const bytes = (HEADER + count * FIELDS) * Int32Array.BYTES_PER_ELEMENT;
    this.buffer = new SharedArrayBuffer(bytes);
    this.#free = Array.from({ length: count }, (_, i) => count - 1 - i);
  }

  /** Takes a slot for a new thread. When none is left, some threads share one. */
  take(): number {
    const slot = this.#free.length > 1 ? this.#free.pop()! : this.#free[0]!;
    const numbers = new Int32Array(this.buffer);
    const used = Math.max(Atomics.load(numbers, USED), slot + 1);
    Atomics.store(numbers, USED, used);
    return slot;
  }

  /**
   * Clears the slot of a thread that has ended.
   *
   * @param isFree Whether another thread may have it, because this one writes no more.
   */
  giveBack(slot: number, isFree: boolean): void {
    new Load(this.buffer, slot).leave();
    if (isFree && !this.#free.includes(slot)) this.#free.push(slot);
  }
}

/** The load of one worker. */
export interface Shown {
  /** How many connections it holds: active, waiting and parked ones. */
  held: number;
  /** Whether it would reject a client, because it has no room. */
  isFull: boolean;
  /** Whether it accepts, unless it yields. */
  isOpen: boolean;
}

/** The load of this worker, shown to the others, and what it sees of theirs. */
export class Load {
  readonly #numbers: Int32Array;
  readonly #own: number; // where its slot begins
  /** How many connections other workers have missed, by where their slots begin. */
  readonly #missed = new Map<number, { arrivals: number; count: number }>();
  #held = 0;
  #state = CLOSED;
  #least = Infinity; // the fewest connections that another accepting worker holds
  #isRoomElsewhere = false; // in another worker
  #hadRoom = false; // this worker, at its last look()
  #hasLeft = false;

  constructor(buffer: SharedArrayBuffer, slot: number) {
    this.#numbers = new Int32Array(buffer);
    this.#own = HEADER + slot * FIELDS;
  }

  /**
   * Shows its load, looks at the others, and wakes those for which something has changed.
   */
  show({ held, isFull, isOpen }: Shown): void {
    if (this.#hasLeft) return;
    this.#held = held;
    this.#state = !isOpen ? CLOSED : isFull ? FULL : ACCEPTING;
    Atomics.store(this.#numbers, this.#own + HELD, held);
    if (this.#state !== ACCEPTING || !this.#isShownToYield) {
      Atomics.store(this.#numbers, this.#own + STATE, this.#state);
    }
    this.look();
  }

  /** Shows that it accepts nothing any more. */
  leave(): void {
    this.#hasLeft = true;
    this.#state = CLOSED;
    Atomics.store(this.#numbers, this.#own + STATE, CLOSED);
    this.#hadRoom = true; // it may have had room
    this.look();
  }

  /** Counts a connection that has come to it, which shows that it is not blocked. */
  arrive(): void {
    Atomics.add(this.#numbers, this.#own + OWN_ARRIVALS, 1);
    Atomics.add(this.#numbers, ARRIVALS, 1);
  }

  /** How many connections have come, to all workers. */
  get arrivals(): number {
    return this.#get(ARRIVALS);
  }

  /** Whether it is full, and another worker has room. */
  get isFullAlone(): boolean {
    return this.#state === FULL && this.#isRoomElsewhere;
  }

  /** Whether it holds so many connections that another worker should get the next one. */
  get shouldYield(): boolean {
    return this.#state === ACCEPTING &&
      this.#held - this.#least >= YIELD_MARGIN;
  }

  /**
   * Shows that it yields. Then no other worker yields to it, and the less loaded worker
   * wakes it. Because that worker may have changed just before, it looks once more.
   */
  yield(): void {
    this.#change(this.#own, ACCEPTING, YIELDING);
    this.look();
  }

  /** Shows that it does not yield any more. */
  stopYielding(): void {
    this.#change(this.#own, YIELDING, ACCEPTING);
  }

  /**
   * Notes that a connection has come to it although it yields: the others have missed it.
   * They may only be late. After MAX_MISSED times they count as blocked.
   */
  noteMiss(): void {
    for (let at = HEADER; at < this.#end; at += FIELDS) {
      if (at === this.#own || this.#get(at + STATE) !== ACCEPTING) continue;
      if (this.#held - this.#heldBy(at) < YIELD_MARGIN) continue;
      const arrivals = this.#get(at + OWN_ARRIVALS);
      this.#missed.set(at, { arrivals, count: this.#countMissed(at) + 1 });
    }
  }

  /** Calls back whenever another worker has woken this one, until it leaves. */
  async onWake(callback: () => void): Promise<void> {
    const bell = this.#own + BELL;
    for (let seen = this.#get(bell); HAS_BELLS && !this.#hasLeft;) {
      await waitAsync(this.#numbers, bell, seen).value;
      seen = this.#get(bell);
      if (!this.#hasLeft) callback();
    }
  }

  get #isShownToYield(): boolean {
    return this.#get(this.#own + STATE) === YIELDING;
  }

  /** Looks at the loads of the others, and wakes those that can accept again. */
  look(): void {
    this.#least = Infinity;
    this.#isRoomElsewhere = false;
    let isAwaited = false;
    for (let at = HEADER; at < this.#end; at += FIELDS) {
      if (at === this.#own) continue;
      const state = this.#get(at + STATE);
      isAwaited ||= state === YIELDING || state === FULL;
      this.#isRoomElsewhere ||= state === YIELDING || state === ACCEPTING;
      if (state === ACCEPTING) {
        this.#least = Math.min(this.#least, this.#heldBy(at));
      }
    }
    if (isAwaited) this.#wakeOthers();
    this.#hadRoom = this.#state === ACCEPTING;
  }

  #wakeOthers(): void {
    const hasRoom = this.#state === ACCEPTING;
    const isChange = hasRoom !== this.#hadRoom && !this.#isRoomElsewhere;
    const accepts = hasRoom && !this.#isShownToYield;
    const least = accepts ? Math.min(this.#held, this.#least) : this.#least;
    for (let at = HEADER; at < this.#end; at += FIELDS) {
      if (at === this.#own) continue;
      const state = this.#get(at + STATE);
      if (state === FULL && isChange) this.#ring(at);
      if (state !== YIELDING || this.#get(at + HELD) - least > WAKE_MARGIN) {
        continue;
      }
      // It counts as accepting from now on, even before it has run.
      this.#change(at, YIELDING, ACCEPTING);
      this.#ring(at);
    }
  }

  #ring(at: number): void {
    Atomics.add(this.#numbers, at + BELL, 1);
    Atomics.notify(this.#numbers, at + BELL);
  }

  /** How many connections an accepting worker holds; Infinity if it is blocked. */
  #heldBy(at: number): number {
    const isBlocked = this.#countMissed(at) > MAX_MISSED;
    return isBlocked ? Infinity : this.#get(at + HELD);
  }

  #countMissed(at: number): number {
    const missed = this.#missed.get(at);
    const arrivals = this.#get(at + OWN_ARRIVALS);
    return missed?.arrivals === arrivals ? missed.count : 0;
  }

  get #end(): number {
    return HEADER + this.#get(USED) * FIELDS;
  }

  #get(at: number): number {
    return Atomics.load(this.#numbers, at);
  }

  #change(at: number, from: number, to: number): void {
    Atomics.compareExchange(this.#numbers, at + STATE, from, to);
  }
}
