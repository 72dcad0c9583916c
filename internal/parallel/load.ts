/**
 * How busy each worker is, in memory that all of them share.
 *
 * The kernel gives a connection to the first socket that asks, and that is the same one
 * again and again. So a worker *yields* to the others, which is to accept nothing, in two
 * cases. For evenness: when it holds 4 connections more than the worker that holds least.
 * And when it is full and another worker has room, as clients are to be turned away only
 * when all workers are full.
 */

/** How many slots are or were in use, and how many connections have come in all. */
const USED = 0;
const ARRIVALS = 1;
const HEADER = 2;

/** A slot: the state, the connections held, how many have come, and a bell to wait for. */
const STATE = 0;
const HELD = 1;
const OWN_ARRIVALS = 2;
const BELL = 3;
const FIELDS = 4;

/** It accepts nothing, for a reason of its own; also: nobody uses the slot. */
const CLOSED = 0;
/** It accepts connections. */
const ACCEPTING = 1;
/** It yields to a worker that holds fewer. */
const YIELDING = 2;
/** It has no room: if it accepts a client, it turns it away. */
const FULL = 3;

/** How many connections more than another one a worker has when it yields. */
const AHEAD = 4;
/** How many more it has still when that one wakes it. */
const NEAR = 2;
/**
 * How many connections a less loaded worker may miss. One that misses more is blocked,
 * and nobody yields to it until it accepts again.
 */
const MAX_MISSED = 5;
/** How many slots there are for threads that have ended and may still run, in a loop. */
const SPARE = 64;

/**
 * Whether a worker can wait for its bell: `Atomics.waitAsync` wakes an idle event loop
 * since Deno 2.7. Before, a worker that yields has to look from time to time.
 */
export const HAS_BELLS: boolean = !/^2\.[0-6]\./.test(Deno.version.deno);

/** Not in all of Deno's types. */
const { waitAsync } = Atomics as unknown as {
  waitAsync(
    numbers: Int32Array,
    index: number,
    value: number,
  ): { value: Promise<unknown> | string };
};

/** The parent's part: which thread has which slot. */
export class Slots {
  readonly buffer: SharedArrayBuffer;
  readonly #free: number[]; // the next one is the last

  /** @param workers How many workers there are. Each has threads that come and go. */
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
   * @param isFree Whether another thread may have it: this one does not write any more.
   */
  giveBack(slot: number, isFree: boolean): void {
    new Load(this.buffer, slot).leave();
    if (isFree && !this.#free.includes(slot)) this.#free.push(slot);
  }
}

/** What a worker shows of itself. */
export interface Shown {
  /** How many connections it holds: active ones, and those that wait to be delivered. */
  held: number;
  /** Whether it would turn a client away, because it has no place left. */
  isFull: boolean;
  /** Whether it accepts, unless it yields. */
  isOpen: boolean;
}

/** A worker's part: what it shows to the others, and what it sees of them. */
export class Load {
  readonly #numbers: Int32Array;
  readonly #own: number; // where its slot begins
  /** The connections that other workers have missed, by where their slots begin. */
  readonly #missed = new Map<number, { arrivals: number; count: number }>();
  #held = 0;
  #state = CLOSED;
  /** What it has seen of the others: the fewest connections that one of them holds, */
  #least = Infinity;
  #isRoomElsewhere = false;
  #hadRoom = false; // itself, when it looked last
  #hasLeft = false;

  constructor(buffer: SharedArrayBuffer, slot: number) {
    this.#numbers = new Int32Array(buffer);
    this.#own = HEADER + slot * FIELDS;
  }

  /**
   * Shows how it is now, looks at the others, and wakes those for which something
   * changes.
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

  /** Shows that it accepts nothing any more, for ever. */
  leave(): void {
    this.#hasLeft = true;
    this.#state = CLOSED;
    Atomics.store(this.#numbers, this.#own + STATE, CLOSED);
    this.#hadRoom = true; // it may have had
    this.look();
  }

  /** Shows that a connection has come to it: so it is not blocked. */
  arrive(): void {
    Atomics.add(this.#numbers, this.#own + OWN_ARRIVALS, 1);
    Atomics.add(this.#numbers, ARRIVALS, 1);
  }

  /** How many connections have come, to all workers. */
  get arrivals(): number {
    return this.#get(ARRIVALS);
  }

  /** Whether it is full while another worker has room. */
  get isFullAlone(): boolean {
    return this.#state === FULL && this.#isRoomElsewhere;
  }

  /** Whether it has so many connections that another worker should have the next. */
  get isAhead(): boolean {
    return this.#state === ACCEPTING && this.#held - this.#least >= AHEAD;
  }

  /**
   * Shows that it yields to a worker that holds fewer: so nobody need yield to it, and
   * that worker wakes it. That it is not ahead any more may have been shown just before,
   * so it looks at the others once more.
   */
  yield(): void {
    this.#change(this.#own, ACCEPTING, YIELDING);
    this.look();
  }

  /** Shows that it yields no more. */
  goOn(): void {
    this.#change(this.#own, YIELDING, ACCEPTING);
  }

  /**
   * Notes that a connection has come to it although it yields to others. They may only
   * be late; after a few times they are taken for blocked.
   */
  miss(): void {
    for (let at = HEADER; at < this.#end; at += FIELDS) {
      if (at === this.#own || this.#get(at + STATE) !== ACCEPTING) continue;
      if (this.#held - this.#heldBy(at) < AHEAD) continue;
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

  /** Looks at the others, and wakes those that wait for what it shows. */
  look(): void {
    this.#least = Infinity;
    this.#isRoomElsewhere = false;
    let doWait = false;
    for (let at = HEADER; at < this.#end; at += FIELDS) {
      if (at === this.#own) continue;
      const state = this.#get(at + STATE);
      doWait ||= state === YIELDING || state === FULL;
      this.#isRoomElsewhere ||= state === YIELDING || state === ACCEPTING;
      if (state === ACCEPTING) {
        this.#least = Math.min(this.#least, this.#heldBy(at));
      }
    }
    if (doWait) this.#wakeOthers();
    this.#hadRoom = this.#state === ACCEPTING;
  }

  #wakeOthers(): void {
    const hasRoom = this.#state === ACCEPTING;
    const isTurn = hasRoom !== this.#hadRoom && !this.#isRoomElsewhere;
    const accepts = hasRoom && !this.#isShownToYield;
    const least = accepts ? Math.min(this.#held, this.#least) : this.#least;
    for (let at = HEADER; at < this.#end; at += FIELDS) {
      if (at === this.#own) continue;
      const state = this.#get(at + STATE);
      if (state === FULL && isTurn) this.#ring(at);
      if (state !== YIELDING || this.#get(at + HELD) - least > NEAR) continue;
      // From now on it counts as accepting, not only when it has run.
      this.#change(at, YIELDING, ACCEPTING);
      this.#ring(at);
    }
  }

  #ring(at: number): void {
    Atomics.add(this.#numbers, at + BELL, 1);
    Atomics.notify(this.#numbers, at + BELL);
  }

  /** How many a worker holds that accepts; Infinity if it is blocked. */
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
