/** Where no worker is. */
const NOBODY = -1;
/** What each worker tells of itself: how many it serves, and how many it has taken. */
const FIELDS = 2;
/** How many connections more than the least a worker may have. */
const MAX_AHEAD = 3;

/** How busy each worker is, in memory that all of them share. */
export class Load {
  readonly #numbers: Int32Array;
  readonly #slot: number;
  /** Those that take nobody, and how many they had taken when that was seen. */
  readonly #asleep = new Map<number, number>();

  /** @param slot Which worker this is. */
  constructor(buffer: SharedArrayBuffer, slot: number) {
    this.#numbers = new Int32Array(buffer);
    this.#slot = slot;
  }

  /** The memory for so many workers, without any. */
  static forWorkers(count: number): SharedArrayBuffer {
    const bytes = count * FIELDS * Int32Array.BYTES_PER_ELEMENT;
    const buffer = new SharedArrayBuffer(bytes);
    new Int32Array(buffer).fill(NOBODY);
    return buffer;
  }

  /** Tells the others that this one comes for one more, serving so many now. */
  come(active: number): void {
    Atomics.store(this.#numbers, this.#slot * FIELDS, active);
    Atomics.add(this.#numbers, this.#slot * FIELDS + 1, 1);
  }

  /** Tells the others that this one serves one fewer. */
  go(): void {
    const slot = this.#slot * FIELDS;
    if (Atomics.load(this.#numbers, slot) > 0) {
      Atomics.sub(this.#numbers, slot, 1);
    }
  }

  /** Tells the others that this one takes nobody any more. */
  leave(): void {
    Atomics.store(this.#numbers, this.#slot * FIELDS, NOBODY);
  }

  #active(slot: number): number {
    return Atomics.load(this.#numbers, slot * FIELDS);
  }

  #taken(slot: number): number {
    return Atomics.load(this.#numbers, slot * FIELDS + 1);
  }

  /** Whether this one has so many connections that others should have the next. */
  isAhead(active: number): boolean {
    return this.#active(this.#slot) !== NOBODY &&
      this.#behind(active).length > 0;
  }

  /** Those that are far behind, and awake. */
  #behind(active: number): number[] {
    const behind = [];
    for (let slot = 0; slot < this.#numbers.length / FIELDS; slot++) {
      const others = this.#active(slot);
      if (others === NOBODY || others >= active - MAX_AHEAD) continue;
      if (this.#asleep.get(slot) !== this.#taken(slot)) behind.push(slot);
    }
    return behind;
  }

  /** Somebody was in the queue whom those behind did not take: they are left out until they do. */
  leaveOut(active: number): void {
    for (const slot of this.#behind(active)) {
      this.#asleep.set(slot, this.#taken(slot));
    }
  }
}
