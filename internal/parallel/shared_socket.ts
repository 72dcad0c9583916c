import { Socket } from "../accept/socket.ts";
import { nextTurn } from "../util/event_loop.ts";

/**
 * A listening socket of which there are several for one queue of the kernel. While
 * others are open the queue stays, so an accept can be cancelled here: another socket is
 * opened, and this one closed. A worker that does not accept so parks no connection:
 * the other workers take what comes.
 */
export class SharedSocket extends Socket {
  readonly #open: () => Deno.Listener;
  /** Asked before each accept. */
  mayAccept: () => boolean = () => true;

  /** @param open Opens one more socket for the queue. */
  constructor(open: () => Deno.Listener) {
    super(open(), "tcp");
    this.#open = open;
  }

  override accept(): void {
    if (this.mayAccept()) super.accept();
  }

  /** Cancels the accept in flight. It may bring a connection all the same. */
  override cancel(): void {
    if (!this.isPending) return;
    try {
      this.replace(this.#open());
    } catch {
      // No descriptor is left: the accept goes on, and may bring a connection.
    }
  }

  /** Accepts, if its owner wants a connection. */
  retry(): void {
    if (this.isWanted) this.accept();
  }

  /** Takes a connection that is in the queue now, and says whether there was one. */
  async acceptNow(): Promise<boolean> {
    if (!this.isWanted) return false;
    super.accept();
    await nextTurn(() => this.isPending);
    if (!this.isPending) return true;
    this.cancel();
    return false;
  }

  /** Leaves the queue to the others: its owner ends when no connection is left inside. */
  leave(): void {
    this.listener.close();
  }
}
