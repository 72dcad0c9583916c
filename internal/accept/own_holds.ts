import type { Acceptor } from "./acceptor.ts";

/** The holds of the program's own, which are counted by reason. */
export class OwnHolds<C extends Deno.Conn, A extends Deno.Addr> {
  readonly #acceptor: Acceptor<C, A>;
  readonly #counts = new Map<string, number>();

  constructor(acceptor: Acceptor<C, A>) {
    this.#acceptor = acceptor;
  }

  /** Holds for a reason, until what this gives is disposed of. */
  hold(reason: string): Disposable {
    this.#counts.set(reason, (this.#counts.get(reason) ?? 0) + 1);
    this.#acceptor.hold(reason);
    let isHeld = true;
    return {
      [Symbol.dispose]: () => {
        if (isHeld) this.#release(reason);
        isHeld = false;
      },
    };
  }

  #release(reason: string): void {
    const left = this.#counts.get(reason)! - 1;
    if (left > 0) return void this.#counts.set(reason, left);
    this.#counts.delete(reason);
    this.#acceptor.release(reason);
  }
}
