import { checkSocket } from "../check.ts";
import { isClosed } from "../util/failures.ts";
import { closedError, Socket } from "./socket.ts";
import { SocketFile } from "./socket_file.ts";

/** A socket without an owner, as the `Deno.Listener` that `detach()` gives. */
class DetachedSocket implements Deno.Listener {
  readonly socket: Socket;

  constructor(socket: Socket) {
    this.socket = socket;
  }

  get addr(): Deno.Addr {
    return this.socket.addr;
  }

  accept(): Promise<Deno.Conn> {
    return this.socket.ask();
  }

  close(): void {
    if (this.socket.isReleased) throw closedError(); // as Deno's own
    this.socket.release();
  }

  ref(): void {
    this.socket.ref();
  }

  unref(): void {
    this.socket.unref();
  }

  async next(): Promise<IteratorResult<Deno.Conn>> {
    try {
      return { value: await this.accept(), done: false };
    } catch (error) {
      const isOver = isClosed(error) ||
        error instanceof Deno.errors.Interrupted;
      if (isOver) return { value: undefined, done: true };
      throw error;
    }
  }

  return(value?: unknown): Promise<IteratorResult<Deno.Conn>> {
    this.close();
    return Promise.resolve({ value, done: true });
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<Deno.Conn> {
    return this;
  }

  [Symbol.dispose](): void {
    this.socket.release();
  }
}

/** The socket of a listener that `detach()` has returned, or of a new one. */
export function socketOf(listener: Deno.Listener): Socket {
  checkSocket(listener);
  if (listener instanceof DetachedSocket) return listener.socket;
  const known = Socket.of(listener);
  if (known !== undefined) return known;
  const { addr } = listener;
  const file = addr.transport === "unix"
    ? new SocketFile(addr.path, false)
    : undefined;
  return new Socket(listener, transportOf(listener), file);
}

/** Deno does not export the class of its TLS listeners. Their addresses say "tcp". */
function transportOf(listener: Deno.Listener): string {
  const isTls = listener.constructor.name === "TlsListener";
  return isTls ? "TLS" : listener.addr.transport;
}

/**
 * The listener that `detach()` returns: Deno's own, unless there are connections that
 * were accepted already.
 */
export function detachedSocket(socket: Socket): Deno.Listener {
  return socket.hasUndelivered ? new DetachedSocket(socket) : socket.listener;
}
