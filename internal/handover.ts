import { isClosedHere } from "./failures.ts";

/**
 * A listening socket that changes hands while an accept is in flight. Deno
 * cannot cancel that accept, so the connection it brings goes to the next owner,
 * as does what was accepted and not delivered: that is what `accept()` yields
 * first.
 */
export class Handover<C extends Deno.Conn, A extends Deno.Addr>
  implements Deno.Listener<C, A> {
  readonly #socket: Deno.Listener<C, A>;
  readonly #first: Promise<C>[];
  #refed = true;

  constructor(socket: Deno.Listener<C, A>, first: Promise<C>[]) {
    this.#socket = socket;
    this.#first = first;
    // One that fails is left out: accept() goes on with the next.
    for (const conn of first) conn.catch(() => {});
    // Until somebody asks for it, the accept must not keep the process alive.
    socket.unref();
  }

  get addr(): A {
    return this.#socket.addr;
  }

  accept(): Promise<C> {
    const first = this.#first.shift();
    if (first === undefined) return this.#socket.accept();
    if (this.#refed) this.#socket.ref();
    return first.catch(() => this.accept());
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<C> {
    return {
      next: async () => {
        try {
          return { value: await this.accept(), done: false };
        } catch (error) {
          if (isClosedHere(error)) return { value: undefined, done: true };
          throw error;
        }
      },
      return: (value) => {
        this.close();
        return Promise.resolve({ value, done: true });
      },
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  close(): void {
    for (const first of this.#first.splice(0)) {
      first.then((conn) => conn[Symbol.dispose](), () => {});
    }
    this.#socket.close();
  }

  ref(): void {
    this.#refed = true;
    if (this.#first.length === 0) this.#socket.ref();
  }

  unref(): void {
    this.#refed = false;
    this.#socket.unref();
  }

  [Symbol.dispose](): void {
    try {
      this.close();
    } catch (error) {
      if (!(error instanceof Deno.errors.BadResource)) throw error;
    }
  }
}
