/** First in, first out. `Array.prototype.shift()` moves all that is left, each time. */
export class Queue<T> {
  #items: T[] = [];
  #taken = 0;

  /** How many there are. */
  get size(): number {
    return this.#items.length - this.#taken;
  }

  /** All of them. */
  get items(): T[] {
    return this.#items.slice(this.#taken);
  }

  /** Puts one at the end. */
  push(item: T): void {
    this.#items.push(item);
  }

  /** Takes the first, if there is one. */
  shift(): T | undefined {
    if (this.size === 0) return undefined;
    const item = this.#items[this.#taken++];
    // What is taken goes when it is half of all: each item is moved once at most.
    if (this.#taken * 2 >= this.#items.length) {
      this.#items = this.#items.slice(this.#taken);
      this.#taken = 0;
    }
    return item;
  }

  /** Takes them all. */
  takeAll(): T[] {
    const all = this.items;
    this.#items = [];
    this.#taken = 0;
    return all;
  }
}
