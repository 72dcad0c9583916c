import { dispose } from "./close.ts";

/**
 * Connections whose callback's promise is pending, so that `shutdown()` can count
 * and reach them.
 */
export class ActiveConns<C extends Deno.Conn> {
  // Slots are used again: an array with free ones takes less than a Set, which is
  // 1 % of an accept.
  readonly #conns: (C | undefined)[] = [];
  readonly #free: number[] = [];
  readonly #order: number[] = []; // when the one in each slot has come
  #added = 0;
  #isCutOff = false;
  #emptied: PromiseWithResolvers<void> | undefined;
  /** How many have ended by themselves. */
  completed = 0;
  /** How many were cut off. */
  aborted = 0;

  /** How many there are. */
  get size(): number {
    return this.#conns.length - this.#free.length;
  }

  /** Resolves when there are none. */
  async emptied(): Promise<void> {
    if (this.size > 0) {
      await (this.#emptied ??= Promise.withResolvers()).promise;
    }
  }

  /** Adds a connection, and gives the slot to delete it by. */
  add(conn: C): number {
    const slot = this.#free.pop() ?? this.#conns.length;
    this.#conns[slot] = conn;
    this.#order[slot] = this.#added++;
    if (this.#isCutOff) this.#abort(conn);
    return slot;
  }

  /** Those that are there, in the order in which they came; whoever ends is left out. */
  *[Symbol.iterator](): Generator<C> {
    const slots = [...this.#order.keys()];
    slots.sort((a, b) => this.#order[a]! - this.#order[b]!);
    const conns = slots.map((slot) => this.#conns[slot]);
    for (const [i, conn] of conns.entries()) {
      if (conn !== undefined && this.#conns[slots[i]!] === conn) yield conn;
    }
  }

  /** Deletes a connection whose callback has ended. */
  delete(slot: number): void {
    this.#conns[slot] = undefined;
    this.#free.push(slot);
    if (!this.#isCutOff) this.completed++;
    if (this.#emptied && this.size === 0) this.#emptied.resolve();
  }

  /** Closes them all, and whatever is added from now on. */
  cutOff(): void {
    if (this.#isCutOff) return;
    this.#isCutOff = true;
    for (const conn of this.#conns) if (conn !== undefined) this.#abort(conn);
  }

  #abort(conn: C): void {
    this.aborted++;
    dispose(conn);
  }
}
