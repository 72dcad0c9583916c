/** A server of `node:net` as a `Deno.Listener`. */
import { once } from "node:events";
import {
  type AddressInfo,
  createServer,
  type ListenOptions,
  type Socket,
} from "node:net";
import { NodeConn } from "./node_conn.ts";

/** How many connections may wait for an `accept()`. More are closed. */
const MAX_WAITING = 1000;

/**
 * For sockets on which only `node:net` can listen, because another process has opened
 * them. `node:net` accepts every connection at once, so connections wait here instead of
 * in the kernel's queue.
 */
export class NodeListener implements Deno.Listener<Deno.TcpConn> {
  readonly #server = createServer({
    allowHalfOpen: true,
    pauseOnConnect: true,
  });
  readonly #waiting: Socket[] = [];
  readonly #accepts: PromiseWithResolvers<Deno.TcpConn>[] = [];
  #isClosed = false;

  /** Listens on a descriptor, as `{ fd: 3 }`, or on a TCP address. */
  static async listen(
    where: ListenOptions | { fd: number },
  ): Promise<NodeListener> {
    const listener = new NodeListener();
    listener.#server.listen(where);
    await once(listener.#server, "listening");
    return listener;
  }

  private constructor() {
    this.#server.on("connection", (socket) => {
      socket.on("error", () => {}); // The next read or write rejects with it.
      const accept = this.#accepts.shift();
      if (accept) accept.resolve(new NodeConn(socket));
      else if (this.#waiting.length < MAX_WAITING) this.#waiting.push(socket);
      else socket.destroy();
    });
  }

  get addr(): Deno.NetAddr {
    const { address, port } = this.#server.address() as AddressInfo;
    return { transport: "tcp", hostname: address, port };
  }

  accept(): Promise<Deno.TcpConn> {
    const accept = Promise.withResolvers<Deno.TcpConn>();
    const socket = this.#waiting.shift();
    if (this.#isClosed) accept.reject(closed());
    else if (socket) accept.resolve(new NodeConn(socket));
    else this.#accepts.push(accept);
    return accept.promise;
  }

  close(): void {
    if (this.#isClosed) throw closed();
    this.#isClosed = true;
    this.#server.close();
    for (const socket of this.#waiting) socket.destroy();
    for (const accept of this.#accepts) accept.reject(closed());
  }

  ref(): void {
    this.#server.ref();
  }

  unref(): void {
    this.#server.unref();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Deno.TcpConn> {
    try {
      for (;;) yield await this.accept();
    } catch (error) {
      if (!(error instanceof Deno.errors.BadResource)) throw error;
    } finally {
      this[Symbol.dispose]();
    }
  }

  [Symbol.dispose](): void {
    if (!this.#isClosed) this.close();
  }
}

function closed(): Error {
  return new Deno.errors.BadResource("Listener has been closed");
}
