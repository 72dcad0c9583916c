import type { Acceptor, AcceptorOwner } from "./accept/acceptor.ts";
import type { Limits } from "./accept/checks.ts";
import { FULL } from "./accept/holds.ts";
import type { Refusal } from "./accept/pipeline.ts";
import { ActiveConns } from "./conn/active_conns.ts";
import { close, dispose } from "./conn/close.ts";
import type { ConnState } from "./conn/conn_state.ts";
import { limitIdling } from "./conn/front.ts";
import { Peers } from "./conn/peers.ts";
import { Rejections } from "./conn/rejections.ts";
import { hasFailedHandshake } from "./conn/tls.ts";
import type { Hook, Settings } from "./settings.ts";
import { NOTHING, sum } from "./stats.ts";
import type { ListenerStats } from "./types.ts";
import { formatAddr } from "./util/addr.ts";
import {
  errorCode,
  isCancelled,
  isPeerGoneWhileServed,
  toError,
} from "./util/failures.ts";
import { callHook, isPromise, print } from "./util/hooks.ts";
import { Queue } from "./util/queue.ts";
import { Sweep } from "./util/sweep.ts";

/** The listener, which callbacks and hooks get as an argument. */
interface Listener {
  readonly addr: Deno.Addr;
  close(): unknown;
}
/** Called with a connection, or with undefined when the listener has ended. */
export type Waiter = (conn: Deno.Conn | undefined) => void;

/** Delivers connections, follows them to their end, and keeps the limits. */
export class Service implements AcceptorOwner, Limits {
  readonly #listener: Listener;
  readonly #settings: Settings;
  #acceptor!: Acceptor;
  #callback: Hook | null = null;
  #data: unknown;
  readonly #waiters = new Queue<Waiter>(); // calls of accept() and next()
  #maxConnections: number;
  #maxPerPeer: number;
  readonly #peers = new Peers();
  readonly #idle: Sweep<ConnState> | undefined;
  readonly #rejections = new Rejections();
  readonly #counts: ListenerStats = { ...NOTHING };
  /** The connections whose callback's promise is pending. */
  readonly active: ActiveConns = new ActiveConns();
  /** Called when an accept fails. */
  onAcceptError: Hook | null;
  readonly admits: ((conn: Deno.Conn) => boolean) | undefined;

  constructor(listener: Listener, settings: Settings) {
    this.#listener = listener;
    this.#settings = settings;
    this.#maxConnections = settings.maxConnections;
    this.#maxPerPeer = settings.maxConnectionsPerPeer;
    this.onAcceptError = settings.onAcceptError ?? null;
    const { admit, idleTimeout } = settings;
    this.admits = admit && ((conn) => admit(conn.remoteAddr, listener));
    if (idleTimeout !== Infinity) {
      this.#idle = new Sweep(idleTimeout, (state) => {
        this.#counts.timedOut++;
        state.timeOut();
      });
    }
  }

  /** Sets the acceptor, which brings the connections, and the callback. */
  begin(acceptor: Acceptor, callback: Hook | null, data: unknown): void {
    this.#acceptor = acceptor;
    this.#callback = callback;
    this.#data = data;
  }

  get stats(): ListenerStats {
    this.#counts.active = this.active.size;
    this.#counts.parked = this.#acceptor.parked;
    this.#counts.waiting = this.#acceptor.waiting;
    return sum(this.#counts, NOTHING); // a copy
  }

  // Demand

  get hasDemand(): boolean {
    return this.#callback !== null || this.#waiters.size > 0;
  }

  get hasCallback(): boolean {
    return this.#callback !== null;
  }

  setCallback(callback: Hook | null, data: unknown): void {
    if (callback && this.#waiters.size > 0) {
      throw new TypeError("Cannot set a callback as an accept() is waiting");
    }
    this.#callback = callback;
    this.#data = data;
    this.#acceptor.update();
  }

  /** Gives the next connection to a call of `accept()` or `next()`. */
  addWaiter(waiter: Waiter): void {
    if (this.#callback !== null) {
      throw new TypeError("Cannot accept as a callback gets every connection");
    }
    this.#waiters.push(waiter);
    this.#acceptor.update();
  }

  // Delivery

  onAccepted(): number {
    return ++this.#counts.accepted;
  }

  deliver(state: ConnState): void {
    if (this.#idle !== undefined) limitIdling(state, this.#idle);
    if (this.#callback === null) this.#give(state);
    else this.#call(this.#callback, state);
    if (this.#isLimited) this.checkLimit();
  }

  /** Gives a connection to `accept()` or a loop. It is not counted any more. */
  #give(state: ConnState): void {
    state.leavePeer();
    this.#waiters.shift()!(state.conn);
  }

  /** Calls the callback. Whatever it throws is handled here. */
  #call(callback: Hook, state: ConnState): void {
    try {
      const handled: unknown = callback(state.conn, this.#listener, this.#data);
      // Without a promise, the program counts and closes the connection itself.
      if (isPromise(handled)) return this.#serve(state, handled);
    } catch (error) {
      this.#fail(error, state.conn);
    }
    state.leavePeer();
  }

  /** Counts a connection until its callback's promise settles, and closes it then. */
  #serve(state: ConnState, handled: PromiseLike<unknown>): void {
    const served = Promise.resolve(handled);
    this.active.add(state);
    if (this.#maxPerPeer !== Infinity) this.#countPeer(state); // if the callback has set it
    served.then(() => {
      dispose(state.conn); // the callback may have closed it
      this.#end(state);
    }, (error) => {
      this.#fail(error, state.conn);
      this.#end(state);
    });
  }

  #end(state: ConnState): void {
    this.active.delete(state);
    state.leavePeer();
    this.#freed();
  }

  /** Closes the connection. The failure is reported later, after its place is free. */
  async #fail(error: unknown, conn: Deno.Conn): Promise<void> {
    const failed = hasFailedHandshake(conn, error); // before it is closed
    const wasOpen = close(conn);
    if (await failed) this.#counts.aborted++;
    else if (isCancelled(error) && !wasOpen) return;
    else if (!isPeerGoneWhileServed(error)) this.onError(error, conn);
  }

  onError(error: unknown, conn: Deno.Conn): void {
    this.#counts.connectionErrors++;
    const hook = this.#settings.onConnectionError;
    if (hook) callHook(() => hook(error, conn, this.#listener));
    else print(console.error, "Error in a connection callback:", error);
  }

  onFailure(thrown: unknown, isFirst: boolean): void {
    this.#counts.acceptErrors++;
    const hook = this.onAcceptError;
    const error = toError(thrown);
    if (hook !== null) {
      callHook(() => hook(error, this.#listener, this.#data));
    } else if (isFirst) {
      const where = formatAddr(this.#listener.addr);
      const what = `Cannot accept on ${where}, trying again:`;
      print(console.warn, what, errorCode(error) || error);
    }
  }

  onGone(): void {
    this.#counts.aborted++;
  }

  onClosed(): void {
    this.#listener.close();
  }

  // Limits

  get maxConnections(): number {
    return this.#maxConnections;
  }

  set maxConnections(max: number) {
    this.#maxConnections = max;
    this.checkLimit();
  }

  get maxConnectionsPerPeer(): number {
    return this.#maxPerPeer;
  }

  set maxConnectionsPerPeer(max: number) {
    this.#maxPerPeer = max;
    // As long as there was no limit, connections were not counted.
    for (const state of [...this.active, ...this.#acceptor.states]) {
      this.#countPeer(state);
    }
  }

  /** Counts a connection for its peer, also over the limit. */
  #countPeer(state: ConnState): void {
    // The peer is not known before the PROXY header is complete.
    if (this.#settings.proxyProtocol && state.header === undefined) return;
    state.peer ??= this.#peers.enter(state.conn.remoteAddr);
  }

  get #isLimited(): boolean {
    return this.#maxConnections !== Infinity;
  }

  /** How many connections count toward the limit. */
  get #count(): number {
    const { waiting, parked } = this.#acceptor;
    return this.active.size + waiting + parked;
  }

  get hasRoom(): boolean {
    return this.active.size < this.#maxConnections;
  }

  isWithinLimit(): boolean {
    return this.#count <= this.#maxConnections; // the count includes this connection
  }

  peerIsWithinLimit = (state: ConnState): true | "peer" => {
    if (this.#maxPerPeer === Infinity || state.peer !== undefined) return true;
    const { remoteAddr } = state.conn;
    state.peer = this.#peers.enter(remoteAddr, this.#maxPerPeer);
    return state.peer !== undefined || "peer";
  };

  onWaiting(): void {
    if (this.#isLimited) this.checkLimit();
  }

  /** Must be called after every change of the limit or of the count. */
  checkLimit(): void {
    const isFull = this.#count >= this.#maxConnections;
    if (isFull && this.#settings.overflow === "queue") {
      this.#acceptor.hold(FULL);
    } else {
      this.#acceptor.release(FULL);
    }
    this.#acceptor.update();
  }

  /** Called when a connection is closed: a file descriptor is free, and perhaps a place. */
  #freed(): void {
    if (!this.#isLimited && !this.#acceptor.holds.any) return; // nothing to change
    this.#acceptor.retry();
    this.checkLimit();
  }

  /** Closes a connection that is not to be delivered. */
  refuse(state: ConnState, why: Refusal): void {
    const { conn } = state;
    state.leavePeer();
    if (why) this.#counts.rejected++;
    else this.#counts.aborted++;
    if (this.#isLimited) this.checkLimit(); // before the hook is called
    const { onReject } = this.#settings;
    const reply = () => why && onReject?.(conn, why, this.#listener);
    if (this.#rejections.close(conn, reply, () => this.#freed())) this.#freed();
  }

  /** Counts connections that were closed before they were delivered. */
  onDropped(count: number): void {
    this.#counts.aborted += count;
  }

  /** Ends the demand. Returns the pending calls of `accept()` and `next()`. */
  end(): Waiter[] {
    this.#idle?.end(); // it goes on for delivered connections
    return this.#waiters.takeAll();
  }

  /** Resolves when no connection is active, and no reply to a rejected client is under way. */
  async idle(): Promise<void> {
    await Promise.all([this.active.emptied(), this.#rejections.done()]);
  }
}
