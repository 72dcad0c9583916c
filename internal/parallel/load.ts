/** Where no worker is. */
const NOBODY = -1;
/**
 * What each worker tells of itself: how many it serves, how many it has asked for, and
 * whether it stands back.
 */
const FIELDS = 3;
/** How many connections more than the least a worker may have. */
const MAX_AHEAD = 3;

/** How often somebody was in the queue whom a worker has not taken, until it is asleep. */
const MAX_MISSED = 5;

/** How busy each worker is, in memory that all of them share. */
export class Load {
  readonly #numbers: Int32Array;
  readonly #own: number; // where this worker's are
  /** How many connections others have missed since they have last asked for one. */
  readonly #missed = new Map<number, { asked: number; count: number }>();
  #active = 0;
  #isHere = false;

  /** @param slot Which worker this is. */
  constructor(buffer: SharedArrayBuffer, slot: number) {
    this.#numbers = new Int32Array(buffer);
    this.#own = slot * FIELDS;
  }

  /** The memory for so many workers, without any. */
  static forWorkers(count: number): SharedArrayBuffer {
    const bytes = count * FIELDS * Int32Array.BYTES_PER_ELEMENT;
    const buffer = new SharedArrayBuffer(bytes);
    new Int32Array(buffer).fill(NOBODY);
    return buffer;
  }

  /** Tells the others that this worker takes connections. */
  join(): void {
    this.#isHere = true;
    this.#tell();
  }

  /** Tells the others that it comes for one more: so it is awake. */
  ask(): void {
    Atomics.add(this.#numbers, this.#own + 1, 1);
  }

  /** Tells the others that it serves one more, */
  enter(): void {
    this.#active++;
    this.#tell();
  }

  /** or one fewer. */
  leave(): void {
    this.#active--;
    this.#tell();
  }

  /** Tells the others whether it stands back: then they need not do so for it. */
  set isAway(isAway: boolean) {
    Atomics.store(this.#numbers, this.#own + 2, isAway ? 1 : 0);
  }

  /** Tells the others that it takes nobody any more. */
  part(): void {
    this.#isHere = false;
    Atomics.store(this.#numbers, this.#own, NOBODY);
  }

  #tell(): void {
    if (this.#isHere) Atomics.store(this.#numbers, this.#own, this.#active);
  }

  /** Whether it has so many connections that another should have the next. */
  get isAhead(): boolean {
    if (!this.#isHere || this.#active <= MAX_AHEAD) return false;
    for (let at = 0; at < this.#numbers.length; at += FIELDS) {
      if (this.#isBehind(at)) return true;
    }
    return false;
  }

  #isBehind(at: number): boolean {
    const active = Atomics.load(this.#numbers, at);
    if (active === NOBODY || active >= this.#active - MAX_AHEAD) return false;
    if (Atomics.load(this.#numbers, at + 2) === 1) return false;
    return this.#countMissed(at) < MAX_MISSED;
  }

  #countMissed(at: number): number {
    const missed = this.#missed.get(at);
    return missed?.asked === this.#asked(at) ? missed.count : 0;
  }

  #asked(at: number): number {
    return Atomics.load(this.#numbers, at + 1);
  }

  /**
   * Those behind did not take who was in the queue. Perhaps they have not come to it yet;
   * after a few times they are asleep, and left out until they ask again.
   */
  miss(): void {
    for (let at = 0; at < this.#numbers.length; at += FIELDS) {
      if (!this.#isBehind(at)) continue;
      const count = this.#countMissed(at) + 1;
      this.#missed.set(at, { asked: this.#asked(at), count });
    }
  }
}
