/** A socket of `node:net` as a `Deno.TcpConn`. */
import type { Socket } from "node:net";

export class NodeConn implements Deno.TcpConn {
  readonly #socket: Socket;
  readonly #localAddr: Deno.NetAddr;
  readonly #remoteAddr: Deno.NetAddr;
  readonly #chunks: AsyncIterator<Uint8Array>;
  #rest: Uint8Array = new Uint8Array();
  #readable: ReadableStream<Uint8Array<ArrayBuffer>> | undefined;
  #writable: WritableStream<Uint8Array<ArrayBufferLike>> | undefined;
  #isClosed = false;

  constructor(socket: Socket) {
    this.#socket = socket;
    // The socket stays open at the end of the input: the client can still read.
    this.#chunks = socket.iterator({ destroyOnReturn: false });
    const { localAddress, localPort, remoteAddress, remotePort } = socket;
    this.#localAddr = addr(localAddress, localPort);
    this.#remoteAddr = addr(remoteAddress, remotePort);
  }

  // Getters, as in Deno's class: with `proxyProtocol` the listener overrides them.

  get localAddr(): Deno.NetAddr {
    return this.#localAddr;
  }

  get remoteAddr(): Deno.NetAddr {
    return this.#remoteAddr;
  }

  async read(p: Uint8Array): Promise<number | null> {
    if (this.#isClosed) throw closed();
    if (this.#rest.length === 0) {
      const { value, done } = await this.#chunks.next()
        .catch((error) => this.#explain(error));
      if (done) return null;
      this.#rest = value;
    }
    const bytes = this.#rest.subarray(0, p.length);
    p.set(bytes);
    this.#rest = this.#rest.subarray(bytes.length);
    return bytes.length;
  }

  write(p: Uint8Array): Promise<number> {
    if (this.#isClosed) return Promise.reject(closed());
    return new Promise<number>((resolve, reject) => {
      this.#socket.write(
        p,
        (error) => error ? reject(error) : resolve(p.length),
      );
    }).catch((error) => this.#explain(error));
  }

  /** Throws what Deno throws for an operation that was pending when this side closed. */
  #explain(error: unknown): never {
    throw this.#isClosed ? new Deno.errors.Interrupted("Closed") : error;
  }

  closeWrite(): Promise<void> {
    return new Promise((resolve) => this.#socket.end(resolve));
  }

  close(): void {
    if (this.#isClosed) throw closed();
    this.#isClosed = true;
    this.#socket.destroy();
  }

  /** Closes the connection at its end, as Deno's does. */
  get readable(): ReadableStream<Uint8Array<ArrayBuffer>> {
    return this.#readable ??= new ReadableStream({
      pull: async (controller) => {
        const buffer = new Uint8Array(16 * 1024);
        const length = await this.read(buffer);
        if (length !== null) {
          return controller.enqueue(buffer.subarray(0, length));
        }
        this[Symbol.dispose]();
        controller.close();
      },
      cancel: () => this[Symbol.dispose](),
    }, { highWaterMark: 0 });
  }

  get writable(): WritableStream<Uint8Array<ArrayBufferLike>> {
    return this.#writable ??= new WritableStream({
      write: async (bytes) => void await this.write(bytes),
      close: () => this[Symbol.dispose](),
      abort: () => this[Symbol.dispose](),
    });
  }

  ref(): void {
    this.#socket.ref();
  }

  unref(): void {
    this.#socket.unref();
  }

  setNoDelay(noDelay = true): void {
    this.#socket.setNoDelay(noDelay);
  }

  setKeepAlive(keepAlive = true): void {
    this.#socket.setKeepAlive(keepAlive);
  }

  [Symbol.dispose](): void {
    if (!this.#isClosed) this.close();
  }
}

function closed(): Error {
  return new Deno.errors.BadResource("Connection has been closed");
}

/** Makes an address. The socket of a client that has gone has none. */
function addr(hostname = "0.0.0.0", port = 0): Deno.NetAddr {
  return { transport: "tcp", hostname, port };
}
