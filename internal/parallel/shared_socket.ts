import { close } from "../conn/close.ts";
import { closed, Socket } from "../accept/socket.ts";

/**
 * A listening socket of which there are several for one queue of the kernel. While
 * others are open the queue stays, so an accept can be cancelled here: another socket is
 * opened, and this one closed. A worker that does not accept parks no connection: the
 * other workers take what comes.
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

  /** Cancels the accept in flight. It may bring a connection all the same. */
  #cancel(): void {
    if (this.pending === undefined) return;
    try {
      this.replace(this.#open());
    } catch {
      // No descriptor is left: the accept goes on, and may bring a connection.
    }
  }

  /** Accepts nothing, until what this gives is disposed of. The socket stays open. */
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
   * Leaves the queue to the other sockets, for ever. Its owner ends when it has
   * delivered what it has.
   */
  leave(): void {
    close(this.listener);
    if (this.pending === undefined) this.onError(closed());
  }
}
