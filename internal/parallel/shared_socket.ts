import { isClosed } from "../util/failures.ts";
import { nextTurn } from "../util/event_loop.ts";
import { type Intake, Stage } from "../accept/stage.ts";

/**
 * A listening socket of which there are several for one queue of the kernel: the
 * innermost stage of a worker. While others are open the queue stays, so an accept can
 * be cancelled here: another socket is opened, and this one closed. Who does not accept
 * parks nobody; whoever comes is taken by the other workers.
 */
export class SharedSocket<
  C extends Deno.Conn = Deno.TcpConn,
  A extends Deno.Addr = Deno.NetAddr,
> extends Stage<C, A> {
  readonly #open: () => Deno.Listener<C, A>;
  #socket: Deno.Listener<C, A> | undefined; // none after leave()
  #accepting: Promise<C> | undefined; // in flight
  #isStopped = false;
  #isClosed = false;
  #refed = true;
  #changed = Promise.withResolvers<void>();

  /** @param open Opens one more socket for the queue. */
  constructor(open: () => Deno.Listener<C, A>) {
    const socket = open();
    super(socket);
    this.#open = open;
    this.#socket = socket;
  }

  override async accept(): Promise<C> {
    for (;;) {
      if (this.#isClosed) {
        throw new Deno.errors.BadResource("Listener has been closed");
      }
      if (this.#mayAccept) {
        const conn = await this.#acceptOnce();
        if (conn !== undefined) return conn;
      } else {
        await this.#changed.promise;
      }
    }
  }

  /** Takes who is in the queue by now, if there is somebody. */
  async acceptNow(): Promise<C | undefined> {
    if (!this.#mayAccept) return undefined;
    const accepted = this.#acceptOnce();
    accepted.catch(() => {}); // it is looked at below
    await nextTurn(() => this.#accepting !== undefined);
    await this.#cancel();
    return await accepted;
  }

  get #mayAccept(): boolean {
    return !this.#isStopped && this.#socket !== undefined;
  }

  /** Undefined if it was cancelled. */
  async #acceptOnce(): Promise<C | undefined> {
    const socket = this.#socket!;
    try {
      return await (this.#accepting = socket.accept());
    } catch (error) {
      if (isClosed(error) && socket !== this.#socket) return undefined;
      throw error;
    } finally {
      this.#accepting = undefined;
    }
  }

  /** Resolves when no accept is in flight: it may have brought somebody. */
  async #cancel(): Promise<void> {
    if (this.#accepting === undefined) return;
    let next;
    try {
      next = this.#open();
    } catch {
      return; // no descriptor is left: the accept goes on, and may bring somebody
    }
    if (!this.#refed) next.unref();
    await this.#replaceBy(next);
  }

  async #replaceBy(next: Deno.Listener<C, A> | undefined): Promise<void> {
    const accepting = this.#accepting;
    const socket = this.#socket;
    this.#socket = next;
    socket?.close();
    await accepting?.catch(() => {});
  }

  /** Accepts nobody until it is told to take anybody. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#cancel();
  }

  override take(intake: Intake): void {
    if (intake !== "anybody") return void this.stop();
    this.#isStopped = false;
    this.#change();
  }

  /** Leaves the queue to the others. Resolves when what it has taken is given. */
  async leave(): Promise<void> {
    await this.#replaceBy(undefined);
    await nextTurn(() => true);
  }

  override close(): void {
    this.#isClosed = true;
    this.#change();
    if (this.#accepting !== undefined || this.#socket !== undefined) {
      this.#replaceBy(undefined);
    }
  }

  #change(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }

  override ref(): void {
    this.#refed = true;
    this.#socket?.ref();
  }

  override unref(): void {
    this.#refed = false;
    this.#socket?.unref();
  }
}
