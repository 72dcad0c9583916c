/** Keeps `console.error` from printing, until the end of the scope. */
export class QuietConsole implements Disposable {
  /** What it was given. */
  readonly errors: unknown[][] = [];
  readonly #error = console.error;

  constructor() {
    console.error = (...args: unknown[]) => void this.errors.push(args);
  }

  [Symbol.dispose](): void {
    console.error = this.#error;
  }
}
