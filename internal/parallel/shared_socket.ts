import { close } from "../conn/close.ts";
import { closedError, Socket } from "../accept/socket.ts";

/**
 * A listening socket that shares a queue of the kernel with others. Its accept can be
 * cancelled: another socket is opened for the same queue, and then this one is closed. So
 * a worker that does not accept parks no connection, and other workers accept it.
 */
export class SharedSocket extends Socket {
  readonly #open: () => Deno.Listener;
  #suspensions = 0;

  /** @param open Opens one more socket for the queue. */
  constructor(open: () => Deno.Listener) {
    super(open(), "tcp");
    this.#open = open;
  }

  override accept(): void {
    if (this.#suspensions === 0) super.accept();
  }

  override cancel(): void {
    this.#cancel();
  }

  /** Cancels the accept in flight. It may still bring a connection. */
  #cancel(): void {
    if (this.pending === undefined) return;
    try {
      this.replace(this.#open());
    } catch {
      // No file descriptor is free: the accept goes on, and may bring a connection.
    }
  }

  /** Accepts nothing until the returned object is disposed of. The socket stays open. */
  suspend(): Disposable {
    this.#suspensions++;
    this.#cancel();
    return {
      [Symbol.dispose]: () => {
        if (--this.#suspensions === 0 && this.isWanted) super.accept();
      },
    };
  }

  /** Resolves when no accept is in flight. */
  async settled(): Promise<void> {
    await this.pending;
  }

  /**
   * Leaves the queue to the other sockets for good. Its owner ends when it has delivered
   * the accepted connections.
   */
  leave(): void {
    close(this.listener);
    if (this.pending === undefined) this.onError(closedError());
  }
}
