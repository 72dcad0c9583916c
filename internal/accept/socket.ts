/**
 * The listening socket, and the one accept that may be in flight on it. The accept
 * belongs to the socket for ever: what it brings goes to the owner that the socket has
 * by then. It also knows what Deno does not tell: whether the socket keeps the process
 * alive, when its queue is empty, and when its address is free.
 */
import { close, dispose } from "../conn/close.ts";
import { handOver, keepInBackground, stateOf } from "../conn/front.ts";
import { caughtUp, nextTurn } from "../util/event_loop.ts";
import { isClosed } from "../util/failures.ts";
import { Queue } from "../util/queue.ts";
import type { SocketFile } from "./socket_file.ts";

/** What gets the connections of a socket. */
export interface SocketOwner {
  /** Whether it wants a connection now. */
  readonly isAccepting: boolean;
  /** Gets a connection, wanted or not. */
  onConn(conn: Deno.Conn): void;
  /** Told why an accept has failed. */
  onError(error: unknown): void;
}

/** A call of `ask()` on a socket without an owner. */
type Asker = PromiseWithResolvers<Deno.Conn>;

/** The sockets by Deno's own listeners: a detached one remembers. */
const sockets = new WeakMap<Deno.Listener, Socket>();

export class Socket {
  readonly addr: Deno.Addr;
  /** What it talks: `"tcp"`, `"TLS"`, `"unix"` or `"vsock"`. */
  readonly transport: string;
  readonly #file: SocketFile | undefined;
  #inner: Deno.Listener; // Deno's own
  #owner: SocketOwner | undefined;
  readonly #undelivered = new Queue<Deno.Conn>();
  readonly #askers = new Queue<Asker>();
  #accepting: Promise<void> | undefined; // settles with the accept in flight
  #acceptingFrom: Deno.Listener | undefined;
  #isInherited = false; // that accept was begun for an owner which is gone
  #isHandingOut = false; // an undelivered one, in a microtask
  #isAsking = false; // about one that may be given back in this turn
  #accepts = 0;
  #isRefed = true; // by its last owner
  #isAlive: boolean | undefined; // as Deno was told
  #released: Promise<void> | undefined;

  /**
   * @param listener What Deno has made.
   * @param transport What it talks, which Deno does not tell of a TLS listener.
   * @param file The file of a Unix socket.
   */
  constructor(
    listener: Deno.Listener,
    transport: string,
    file?: SocketFile,
  ) {
    sockets.set(listener, this);
    this.#inner = listener;
    this.addr = listener.addr;
    this.transport = transport;
    this.#file = file;
  }

  /** The socket of a listener of Deno's, if it has one already. */
  static of(listener: Deno.Listener): Socket | undefined {
    return sockets.get(listener);
  }

  /** Deno's own listener. */
  get listener(): Deno.Listener {
    return this.#inner;
  }

  /** Whether it is to keep the process alive while it is accepted from. */
  get isRefed(): boolean {
    return this.#isRefed;
  }

  /** Whether the next owner gets something that was accepted for another. */
  get hasUndelivered(): boolean {
    return this.#undelivered.size > 0 || this.#accepting !== undefined ||
      this.#isAsking;
  }

  // With an owner

  /** Gives what comes to an owner from now on. */
  own(owner: SocketOwner): void {
    this.#owner = owner;
    this.#isAlive = undefined;
  }

  /** Asks for a connection: an undelivered one, or an accept. One at a time. */
  accept(): void {
    if (this.#undelivered.size > 0) this.#handOutSoon();
    else if (this.#accepting === undefined) this.#begin();
  }

  /** No connection is wanted now. Deno cannot cancel the accept in flight. */
  cancel(): void {}

  #begin(): void {
    this.#accepts++;
    this.#isInherited = false;
    this.#acceptingFrom = this.#inner;
    this.#accepting = this.#inner.accept().then(this.#succeed, this.#fail);
  }

  /** Settles with the accept in flight, if there is one. */
  protected get pending(): Promise<void> | undefined {
    return this.#accepting;
  }

  /** Whether a connection is wanted: by its owner, or without one by `ask()`. */
  protected get isWanted(): boolean {
    return this.#owner?.isAccepting ?? this.#askers.size > 0;
  }

  /** Goes on with another socket for the same queue. That cancels the accept in flight. */
  protected replace(listener: Deno.Listener): void {
    const old = this.#inner;
    sockets.set(listener, this);
    this.#inner = listener;
    if (this.#isAlive === false) listener.unref();
    close(old);
  }

  readonly #succeed = (conn: Deno.Conn): void => {
    this.#accepting = undefined;
    this.onConn(conn);
  };

  readonly #fail = (error: unknown): void => {
    this.#accepting = undefined;
    this.onError(error);
  };

  /** A connection has come. */
  protected onConn(conn: Deno.Conn): void {
    const isNext = this.#undelivered.size === 0;
    if (isNext && this.#owner !== undefined) this.#owner.onConn(conn);
    else this.giveBack(conn); // behind those that have come before it
  }

  /** An accept has failed. */
  protected onError(error: unknown): void {
    if (this.isReleased) return;
    const isCancelled = isClosed(error) && this.#acceptingFrom !== this.#inner;
    if (isCancelled) {
      if (this.isWanted) this.accept();
    } else if (this.#owner !== undefined) this.#owner.onError(error);
    else this.#onAskerError(error);
    this.#keepAlive();
  }

  /** Those that have not asked for the accept that has failed get another. */
  #onAskerError(error: unknown): void {
    if (!this.#isInherited) this.#askers.shift()?.reject(error);
    if (this.isWanted) this.accept();
  }

  // Changing hands

  /** Takes back a connection that was not delivered. Says whether it is kept, or closed. */
  giveBack(conn: Deno.Conn): boolean {
    if (this.isReleased) {
      dispose(conn);
      return false;
    }
    keepInBackground(stateOf(conn), true);
    this.#undelivered.push(conn);
    if (this.isWanted) this.#handOutSoon();
    return true;
  }

  /**
   * Has no owner any more. What was not delivered is for the next, or for `ask()`.
   *
   * @param isAsking Whether a hook of the owner is running, after which one more
   * connection may be given back.
   */
  disown(
    undelivered: readonly Deno.Conn[],
    isRefed: boolean,
    isAsking = false,
  ): void {
    this.#owner = undefined;
    if (isAsking) {
      this.#isAsking = true;
      queueMicrotask(() => this.#isAsking = false);
    }
    this.cancel();
    this.#isInherited = this.#accepting !== undefined;
    const later = this.#undelivered.takeAll();
    for (const conn of [...undelivered, ...later]) this.giveBack(conn);
    if (this.#askers.size > 0) this.accept(); // they had asked before it was owned
    this.#isRefed = isRefed;
    this.#keepAlive();
  }

  /** The next connection, while it has no owner. */
  ask(): Promise<Deno.Conn> {
    if (this.#owner !== undefined) {
      const busy = "Another accept task is ongoing";
      return Promise.reject(new Deno.errors.Busy(busy));
    }
    if (this.isReleased) return Promise.reject(closed());
    const asker = Promise.withResolvers<Deno.Conn>();
    this.#askers.push(asker);
    this.accept();
    this.#keepAlive();
    return asker.promise;
  }

  #handOutSoon(): void {
    if (this.#isHandingOut) return;
    this.#isHandingOut = true;
    queueMicrotask(() => {
      this.#isHandingOut = false;
      this.#handOut();
    });
  }

  #handOut(): void {
    const conn = this.isWanted ? this.#undelivered.shift() : undefined;
    if (conn === undefined) return;
    if (this.#owner !== undefined) return this.#owner.onConn(conn);
    handOver(stateOf(conn));
    this.#askers.shift()!.resolve(conn);
    if (this.isWanted) this.accept();
    this.#keepAlive();
  }

  // What keeps the process alive

  /** Lets an owner say so. Without one, it is what somebody has asked for. */
  keepAlive(isAlive: boolean): void {
    if (isAlive === this.#isAlive) return;
    this.#isAlive = isAlive;
    if (isAlive) this.#inner.ref();
    else this.#inner.unref();
  }

  #keepAlive(): void {
    if (this.#owner !== undefined) return;
    // Deno's own listener, with nothing pending, is as its owner has left it.
    const isAsked = this.#askers.size > 0 || !this.hasUndelivered;
    this.keepAlive(this.#isRefed && isAsked);
  }

  ref(): void {
    this.#isRefed = true;
    this.#keepAlive();
  }

  unref(): void {
    this.#isRefed = false;
    this.#keepAlive();
  }

  // The end

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
      await look(() => isPending() && !this.isReleased);
      if (isPending() || this.#accepts >= enough) return;
      // An accept that follows another has asked the kernel itself. If it is
      // pending, there was nothing, or the turn had no operations left.
      if (before > 0) look = nextTurn;
    }
  }

  /** Whether it is closed, by `release()`. */
  get isReleased(): boolean {
    return this.#released !== undefined;
  }

  /** Closes it. Resolves when the address can be listened on again; never rejects. */
  release(): Promise<void> {
    return this.#released ??= this.#release();
  }

  async #release(): Promise<void> {
    // Until the accept in flight has settled the address is not free, and the
    // process must not end.
    this.keepAlive(true);
    const putBack = this.#file?.setAside();
    close(this.#inner); // the program may have closed it already
    for (const conn of this.#undelivered.takeAll()) dispose(conn);
    await this.#accepting;
    await putBack?.();
    this.#owner = undefined;
    for (const asker of this.#askers.takeAll()) asker.reject(closed());
  }
}

/** What Deno rejects with when a listener is closed. */
export function closed(): Error {
  return new Deno.errors.BadResource("Listener has been closed");
}
