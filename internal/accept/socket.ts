/**
 * The listening socket: the innermost stage. It knows what Deno does not tell: what
 * was accepted and not delivered by a listener that was detached, whether the socket
 * keeps the process alive, when its queue is empty, and when its address is free.
 */
import { dispose } from "../conn/close.ts";
import { handOn } from "../conn/covered.ts";
import { caughtUp, nextTurn } from "../util/event_loop.ts";
import { Queue } from "../util/queue.ts";
import { never, Stage } from "./stage.ts";
import { SocketFile } from "./socket_file.ts";

/** Sockets that were detached: adopted again, they remember. */
// deno-lint-ignore no-explicit-any
const detached = new WeakMap<Deno.Listener, Socket<any, any>>();

/**
 * A socket that may change hands. While something is in hand, this is what
 * `detach()` gives: a `Deno.Listener` that yields it first.
 */
export class Socket<
  C extends Deno.Conn = Deno.Conn,
  A extends Deno.Addr = Deno.Addr,
> extends Stage<C, A> {
  /** What was taken from it and not delivered. An accept in flight is the last. */
  readonly #inHand = new Queue<C | Promise<C>>();
  /** What accept() has given for one in hand, and what it stands for by now. */
  readonly #origins = new WeakMap<Promise<C>, Promise<C>>();
  /** And the other way round, while somebody has it. */
  readonly #given = new WeakMap<Promise<C>, Promise<C>>();
  readonly #file: SocketFile | undefined;
  #accepts = 0; // how many were begun
  #accepting: Promise<C> | undefined; // the last of them, settled or not
  #refed = true;
  #released: Promise<void> | undefined;

  /** The stage for a socket that somebody else has made. */
  static of<C extends Deno.Conn, A extends Deno.Addr>(
    listener: Deno.Listener<C, A>,
  ): Socket<C, A> {
    if (listener instanceof Socket) return listener;
    return detached.get(listener) ?? new Socket(listener, false);
  }

  /** @param isNew Whether it was made just now: then the file at its path is its own. */
  constructor(listener: Deno.Listener<C, A>, isNew: boolean) {
    super(listener);
    const { addr } = listener;
    if (addr.transport === "unix") {
      this.#file = new SocketFile(addr.path, isNew);
    }
  }

  /** What its owner sees: the socket as it was made, if nothing is in hand. */
  get shown(): Deno.Listener<C, A> {
    return this.#inHand.size === 0 ? this.inner : this;
  }

  /** Whether it is to keep the process alive while it is accepted from. */
  get refed(): boolean {
    return this.#refed;
  }

  /** What it talks. Deno's TLS listener has a TCP address, too, and its class is not exported. */
  get transport(): string {
    const isTls = this.inner.constructor.name === "TlsListener";
    return isTls ? "TLS" : this.addr.transport;
  }

  override accept(): Promise<C> {
    const next = this.#inHand.shift();
    if (next === undefined) {
      this.#accepts++;
      return this.#accepting = this.inner.accept();
    }
    if (this.#refed) this.ref(); // it may be the accept in flight
    if (next instanceof Promise) return this.#orNext(next);
    handOn(next);
    return Promise.resolve(next);
  }

  /** One in hand that fails is passed over, for who has asked for it last. */
  #orNext(inHand: Promise<C>): Promise<C> {
    const conn = inHand.catch(() => {
      if (this.#given.get(inHand) !== conn) return never(); // it was given back
      const next = this.accept();
      this.#origins.set(conn, this.#origins.get(next) ?? next);
      return next;
    });
    this.#given.set(inHand, conn);
    this.#origins.set(conn, inHand);
    return conn;
  }

  /**
   * Takes back what one owner has not delivered, for the next.
   *
   * @returns What to accept from now on.
   */
  handOver(inHand: (C | Promise<C>)[], refed: boolean): Deno.Listener<C, A> {
    detached.set(this.inner, this);
    for (const item of [...inHand, ...this.#inHand.takeAll()]) {
      if (!(item instanceof Promise)) {
        this.#inHand.push(item);
        continue;
      }
      // However often it changes hands, it is in one promise.
      const origin = this.#origins.get(item) ?? item;
      origin.catch(() => {});
      this.#given.delete(origin);
      this.#inHand.push(origin);
    }
    if (refed) this.ref();
    else this.unref();
    return this.shown;
  }

  /** How many accepts were begun on it, up to now. */
  get accepts(): number {
    return this.#accepts;
  }

  /**
   * Resolves when the kernel's queue is seen to be empty, in the very turn of the
   * event loop, or when so many accepts were begun. Only while connections are
   * accepted one after the other.
   */
  async dry(enough: number): Promise<void> {
    let look = caughtUp;
    for (;;) {
      const before = this.#accepts;
      const isPending = () => this.#accepts === before;
      await look(() => isPending() && this.#released === undefined);
      if (isPending() || this.#accepts >= enough) return;
      // An accept that follows another has asked the kernel itself. If it is
      // pending, there was nothing, or the turn had no operations left.
      if (before > 0) look = nextTurn;
    }
  }

  /** Closes it. Resolves when the address can be listened on again; never rejects. */
  release(): Promise<void> {
    return this.#released ??= this.#release();
  }

  async #release(): Promise<void> {
    // Until the accept in flight has settled the address is not free, and the
    // process must not end.
    this.inner.ref();
    const putBack = this.#file?.setAside();
    this[Symbol.dispose](); // its owner may have closed it already
    await this.#accepting?.catch(() => {});
    await putBack?.();
  }

  override close(): void {
    for (const item of this.#inHand.takeAll()) {
      if (item instanceof Promise) item.then(dispose, () => {});
      else dispose(item);
    }
    this.inner.close();
  }

  override ref(): void {
    this.#refed = true;
    // Nobody has asked for the accept that is in flight while it is in hand.
    if (this.#inHand.size === 0) this.inner.ref();
    else this.inner.unref();
  }

  override unref(): void {
    this.#refed = false;
    this.inner.unref();
  }
}
