/**
 * The listening socket, and the one accept that may be in flight on it. The accept
 * belongs to the socket, not to its owner: its connection goes to the owner that the
 * socket has when it comes. The socket also knows three things that Deno does not tell:
 * whether it keeps the process alive, when its queue is empty, and when its address is
 * free.
 */
import { close, dispose } from "../conn/close.ts";
import { handOver, keepInBackground, stateOf } from "../conn/front.ts";
import { caughtUp, nextTurn } from "../util/event_loop.ts";
import { isClosed } from "../util/failures.ts";
import { Queue } from "../util/queue.ts";
import type { SocketFile } from "./socket_file.ts";

/** The acceptor, as the socket needs it. */
export interface SocketOwner {
  /** Whether it wants a connection now. */
  readonly isAccepting: boolean;
  /** Called with a connection, wanted or not. */
  onConn(conn: Deno.Conn): void;
  /** Called when an accept has failed. */
  onError(error: unknown): void;
}

/** A pending call of `ask()`, on a socket without an owner. */
type Asker = PromiseWithResolvers<Deno.Conn>;

/** The sockets by Deno's own listeners, so that a detached one is found again. */
const sockets = new WeakMap<Deno.Listener, Socket>();

export class Socket {
  readonly addr: Deno.Addr;
  /** `"tcp"`, `"TLS"`, `"unix"` or `"vsock"`. */
  readonly transport: string;
  readonly #file: SocketFile | undefined;
  #listener: Deno.Listener; // Deno's own
  #owner: SocketOwner | undefined;
  readonly #undelivered = new Queue<Deno.Conn>();
  readonly #askers = new Queue<Asker>();
  #accepting: Promise<void> | undefined; // settles with the accept in flight
  #acceptingFrom: Deno.Listener | undefined;
  #isInherited = false; // the accept in flight was begun for an earlier owner
  #isHandingOut = false; // an undelivered connection, in a microtask
  #isChecking = false; // a connection may be given back in this turn
  #accepts = 0;
  #isRefed = true; // by ref() and unref(), or as its last owner was
  #isAlive: boolean | undefined; // the last call of ref() or unref() on Deno's own
  #released: Promise<void> | undefined;

  /**
   * @param listener Deno's own listener.
   * @param transport Its transport. With TLS, its address says "tcp".
   * @param file The file of a Unix socket.
   */
  constructor(
    listener: Deno.Listener,
    transport: string,
    file?: SocketFile,
  ) {
    sockets.set(listener, this);
    this.#listener = listener;
    this.addr = listener.addr;
    this.transport = transport;
    this.#file = file;
  }

  /** The socket of Deno's own listener, if there is one already. */
  static of(listener: Deno.Listener): Socket | undefined {
    return sockets.get(listener);
  }

  /** Deno's own listener. */
  get listener(): Deno.Listener {
    return this.#listener;
  }

  /** Whether it keeps the process alive while an accept is pending. */
  get isRefed(): boolean {
    return this.#isRefed;
  }

  /** Whether there are connections, or an accept, that the next owner gets. */
  get hasUndelivered(): boolean {
    return this.#undelivered.size > 0 || this.#accepting !== undefined ||
      this.#isChecking;
  }

  // With an owner

  /** Sets the owner, which gets the connections from now on. */
  own(owner: SocketOwner): void {
    this.#owner = owner;
    this.#isAlive = undefined;
  }

  /** Brings one connection: an undelivered one, or by an accept. */
  accept(): void {
    if (this.#undelivered.size > 0) this.#handOutSoon();
    else if (this.#accepting === undefined) this.#begin();
  }

  /** Called when no connection is wanted. Deno cannot cancel the accept in flight. */
  cancel(): void {}

  #begin(): void {
    this.#accepts++;
    this.#isInherited = false;
    this.#acceptingFrom = this.#listener;
    this.#accepting = this.#listener.accept().then(this.#succeed, this.#fail);
  }

  /** Settles with the accept in flight, if there is one. */
  protected get pending(): Promise<void> | undefined {
    return this.#accepting;
  }

  /** Whether a connection is wanted: by the owner or, without an owner, by `ask()`. */
  protected get isWanted(): boolean {
    return this.#owner?.isAccepting ?? this.#askers.size > 0;
  }

  /** Replaces Deno's listener by another of the same queue. That cancels the accept in flight. */
  protected replace(listener: Deno.Listener): void {
    const old = this.#listener;
    sockets.set(listener, this);
    this.#listener = listener;
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

  /** Called when an accept has brought a connection. */
  protected onConn(conn: Deno.Conn): void {
    const isNext = this.#undelivered.size === 0;
    if (isNext && this.#owner !== undefined) this.#owner.onConn(conn);
    else this.giveBack(conn); // after the connections that came before it
  }

  /** Called when an accept has failed. */
  protected onError(error: unknown): void {
    if (this.isReleased) return;
    const isCancelled = isClosed(error) &&
      this.#acceptingFrom !== this.#listener;
    if (isCancelled) {
      if (this.isWanted) this.accept();
    } else if (this.#owner !== undefined) this.#owner.onError(error);
    else this.#onAskerError(error);
    this.#keepAlive();
  }

  /** An accept that was begun for an owner does not fail a call of `ask()`: it is repeated. */
  #onAskerError(error: unknown): void {
    if (!this.#isInherited) this.#askers.shift()?.reject(error);
    if (this.isWanted) this.accept();
  }

  // Without an owner

  /**
   * Takes back a connection that was not delivered.
   *
   * @returns Whether it is kept. If the socket is closed, the connection is closed, too.
   */
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
   * Removes the owner. Undelivered connections go to the next owner, or to `ask()`.
   *
   * @param isChecking Whether a check of the owner is running, after which one more
   * connection may be given back.
   */
  disown(
    undelivered: readonly Deno.Conn[],
    isRefed: boolean,
    isChecking = false,
  ): void {
    this.#owner = undefined;
    if (isChecking) {
      this.#isChecking = true;
      queueMicrotask(() => this.#isChecking = false);
    }
    this.cancel();
    this.#isInherited = this.#accepting !== undefined;
    const later = this.#undelivered.takeAll();
    for (const conn of [...undelivered, ...later]) this.giveBack(conn);
    if (this.#askers.size > 0) this.accept(); // they were made before it had an owner
    this.#isRefed = isRefed;
    this.#keepAlive();
  }

  /** Returns the next connection. Only while the socket has no owner. */
  ask(): Promise<Deno.Conn> {
    if (this.#owner !== undefined) {
      const busy = "Another accept task is ongoing";
      return Promise.reject(new Deno.errors.Busy(busy));
    }
    if (this.isReleased) return Promise.reject(closedError());
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

  /** Sets whether the socket keeps the process alive. */
  keepAlive(isAlive: boolean): void {
    if (isAlive === this.#isAlive) return;
    this.#isAlive = isAlive;
    if (isAlive) this.#listener.ref();
    else this.#listener.unref();
  }

  #keepAlive(): void {
    if (this.#owner !== undefined) return;
    // With nothing undelivered, detach() gives Deno's own listener, as ref() has set it.
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

  /** How many accepts were begun so far. */
  get accepts(): number {
    return this.#accepts;
  }

  /**
   * Resolves when the kernel's queue is empty, in the turn of the event loop in which
   * that is known. To be called only while connections are accepted one after the other.
   *
   * @param enough The number of accepts after which it resolves in any case.
   */
  async queueEmpty(enough: number): Promise<void> {
    let look = caughtUp;
    for (;;) {
      const before = this.#accepts;
      const isPending = () => this.#accepts === before;
      await look(() => isPending() && !this.isReleased);
      if (isPending() || this.#accepts >= enough) return;
      // An accept that follows another asks the kernel at once. If it is pending, the
      // queue was empty, or the turn had no operations left.
      if (before > 0) look = nextTurn;
    }
  }

  /** Whether `release()` was called. */
  get isReleased(): boolean {
    return this.#released !== undefined;
  }

  /** Closes the socket. Resolves when the address can be used again; never rejects. */
  release(): Promise<void> {
    return this.#released ??= this.#release();
  }

  async #release(): Promise<void> {
    // The address is not free until the accept in flight has settled. The process must
    // not end before.
    this.keepAlive(true);
    const putBack = this.#file?.setAside();
    close(this.#listener); // the program may have closed it already
    for (const conn of this.#undelivered.takeAll()) dispose(conn);
    await this.#accepting;
    await putBack?.();
    this.#owner = undefined;
    for (const asker of this.#askers.takeAll()) asker.reject(closedError());
  }
}

/** The error of an accept on a closed listener, as Deno words it. */
export function closedError(): Error {
  return new Deno.errors.BadResource("Listener has been closed");
}
