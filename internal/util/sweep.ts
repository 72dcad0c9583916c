/** A sweep has at least this many ticks in its timeout. */
const PARTS = 8;
/** The longest tick, in ms. */
const MAX_TICK = 800;

/** The value of `place` in no list, and of `since` without a wait. */
export const NONE = -1;

/** What a sweep knows of an item, kept on the item so that there is no lookup. */
export interface Swept {
  /** Where the item is in the list. */
  place: number;
  /** In which tick its wait began. */
  since: number;
}

/**
 * One coarse timer for any number of waits of the same length. The timer runs only
 * while there are items, never keeps the process alive, and counts turns of the event
 * loop: while the loop is blocked, no time goes by.
 */
export class Sweep<T extends Swept> {
  readonly #tick: number; // in ms
  readonly #ticks: number; // of a wait
  readonly #onTimeout: (item: T) => void;
  readonly #items: T[] = [];
  #now = 0; // in ticks
  #hasEnded = false;
  #timer: ReturnType<typeof setInterval> | undefined;

  /**
   * @param timeout How long a wait may be, in ms. It may take an eighth longer, but at
   * most 0.8 s. With Infinity, no wait ends.
   * @param onTimeout Called when a wait is over. The item is not in the list any more.
   */
  constructor(timeout: number, onTimeout: (item: T) => void) {
    const parts = Math.max(PARTS, Math.ceil(timeout / MAX_TICK));
    this.#tick = timeout / parts;
    this.#ticks = parts + 1; // a wait may begin at any time in its first tick
    this.#onTimeout = onTimeout;
  }

  /** How many items there are. */
  get size(): number {
    return this.#items.length;
  }

  /** The items, in no particular order. */
  get items(): readonly T[] {
    return this.#items;
  }

  /** Begins or restarts the wait of an item. */
  watch(item: T): void {
    item.since = this.#now;
    if (item.place !== NONE) return;
    item.place = this.#items.push(item) - 1;
    if (this.#timer !== undefined || this.#ticks === Infinity) return;
    this.#timer = setInterval(() => this.#look(this.#now + 1), this.#tick);
    Deno.unrefTimer(this.#timer);
  }

  /** Ends an item's wait. It stays in the list for the next one. */
  endWait(item: T): void {
    item.since = NONE;
    if (this.#hasEnded && item.place !== NONE) this.remove(item);
  }

  /** Takes an item out of the list. */
  remove(item: T): void {
    const last = this.#items.pop()!;
    if (last !== item) {
      this.#items[item.place] = last;
      last.place = item.place;
    }
    item.place = item.since = NONE;
    // Otherwise the timer is stopped by its next tick, which is cheaper if items come and go.
    if (this.#hasEnded) this.#stopIfEmpty();
  }

  /** Must be called when no new items will come. The timer stops with the last item. */
  end(): void {
    this.#hasEnded = true;
    this.#look(this.#now);
  }

  #look(now: number): void {
    this.#now = now;
    // From the end, because a removed item is replaced by the last one.
    for (let i = this.#items.length - 1; i >= 0; i--) {
      const item = this.#items[i];
      if (item === undefined) continue; // onTimeout() has removed others
      if (item.since === NONE) this.remove(item);
      else if (now - item.since >= this.#ticks) {
        this.remove(item);
        this.#onTimeout(item);
      }
    }
    this.#stopIfEmpty();
  }

  #stopIfEmpty(): void {
    if (this.#items.length > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
