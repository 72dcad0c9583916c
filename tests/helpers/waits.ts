/** The waits that are asked for until the end of the scope, in ms. They are shorter in fact. */
export class Waits implements Disposable {
  readonly #own = globalThis.setTimeout;
  #asked: number[] = [];

  constructor() {
    const own = this.#own;
    const setTimeout = (wake: () => void, ms = 0) => {
      this.#asked.push(ms);
      return own(wake, 1);
    };
    Object.assign(globalThis, { setTimeout });
  }

  /** Those since the last call; shorter ones are the test's own. */
  get asked(): number[] {
    return this.#asked.splice(0).filter((ms) => ms >= 5);
  }

  [Symbol.dispose](): void {
    Object.assign(globalThis, { setTimeout: this.#own });
  }
}
