/**
 * A `Deno.Listener` on which accept does what a test says: what a real socket
 * cannot be made to do at will. Connections still come from a real socket.
 */
export class StandIn implements Deno.Listener<Deno.TcpConn, Deno.NetAddr> {
  readonly #socket = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #next: (call: number) => Error | undefined;
  /** How often accept() was called. */
  calls = 0;

  /** @param next Gives the error with which a call of accept() is to fail, if it is. */
  constructor(next: (call: number) => Error | undefined) {
    this.#next = next;
  }

  get addr(): Deno.NetAddr {
    return this.#socket.addr;
  }

  accept(): Promise<Deno.TcpConn> {
    const error = this.#next(this.calls++);
    return error ? Promise.reject(error) : this.#socket.accept();
  }

  close(): void {
    this.#socket.close();
  }

  ref(): void {
    this.#socket.ref();
  }

  unref(): void {
    this.#socket.unref();
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<Deno.TcpConn> {
    return this.#socket[Symbol.asyncIterator]();
  }

  [Symbol.dispose](): void {
    this.#socket[Symbol.dispose]();
  }
}

/** An error such as Deno makes of one of the operating system's. */
export function osError(code: string): Error {
  return Object.assign(new Error(`${code} (os error)`), { code });
}
