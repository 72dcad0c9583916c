import { isClosedHere } from "./failures.ts";

/**
 * A listening socket that changes hands while an accept is in flight. Deno
 * cannot cancel that accept, so the connection it brings goes to the next owner:
 * it is what the first `accept()` yields.
 */
export class Handover<C extends Deno.Conn, A extends Deno.Addr>
  implements Deno.Listener<C, A> {
  readonly #socket: Deno.Listener<C, A>;
  #first: Promise<C> | undefined;
  #refed = true;

  constructor(socket: Deno.Listener<C, A>, first: Promise<C>) {
    this.#socket = socket;
    this.#first = first;
    first.catch(() => {}); // what it says is found out again by the next accept
    // Until somebody asks for it, the accept must not keep the process alive.
    socket.unref();
  }

  get addr(): A {
    return this.#socket.addr;
  }

  accept(): Promise<C> {
    const first = this.#first;
    if (first === undefined) return this.#socket.accept();
    this.#first = undefined;
    if (this.#refed) this.#socket.ref();
    return first.catch(() => this.#socket.accept());
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
    this.#first?.then((conn) => conn[Symbol.dispose](), () => {});
    this.#first = undefined;
    this.#socket.close();
  }

  ref(): void {
    this.#refed = true;
    if (this.#first === undefined) this.#socket.ref();
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
