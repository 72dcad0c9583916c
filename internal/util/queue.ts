/** First in, first out. `Array.prototype.shift()` would move all other items, each time. */
export class Queue<T> {
  #items: T[] = [];
  #taken = 0;

  /** How many items there are. */
  get size(): number {
    return this.#items.length - this.#taken;
  }

  /** All items, the first one first. */
  get items(): T[] {
    return this.#items.slice(this.#taken);
  }

  /** Adds an item at the end. */
  push(item: T): void {
    this.#items.push(item);
  }

  /** Removes the first item, if there is one. */
  shift(): T | undefined {
    if (this.size === 0) return undefined;
    const item = this.#items[this.#taken++];
    // Removed items are dropped when they are half of all: so each item moves once at most.
    if (this.#taken * 2 >= this.#items.length) {
      this.#items = this.#items.slice(this.#taken);
      this.#taken = 0;
    }
    return item;
  }

  /** Removes all items. */
  takeAll(): T[] {
    const all = this.items;
    this.#items = [];
    this.#taken = 0;
    return all;
  }
}
