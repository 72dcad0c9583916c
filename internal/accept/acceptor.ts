import type { ConnState } from "../conn/conn_state.ts";
import { stateOf } from "../conn/front.ts";
import { isClosed, isPeerGoneBeforeAccept } from "../util/failures.ts";
import { Queue } from "../util/queue.ts";
import { Backoff } from "./backoff.ts";
import { BACKOFF, Holds } from "./holds.ts";
import { type Check, Pipeline, type Refusal } from "./pipeline.ts";
import type { Socket, SocketOwner } from "./socket.ts";

/** The service that an acceptor brings connections to. */
export interface AcceptorOwner {
  /** Whether it wants a connection. It must call `update()` after a change. */
  readonly hasDemand: boolean;
  /** Whether one more connection may be delivered. */
  readonly hasRoom: boolean;
  /** Counts an accepted connection. Returns how many were accepted so far. */
  onAccepted(): number;
  /** Delivers a connection. Must not throw. */
  deliver(state: ConnState): void;
  /** Closes a connection that is not delivered. */
  refuse(state: ConnState, why: Refusal): void;
  /** Called when a connection begins to wait until it is ready. */
  onWaiting(): void;
  /** Called with the number of connections that were closed before they were delivered. */
  onDropped(count: number): void;
  /** Called when a client was gone before it was accepted. */
  onGone(): void;
  /**
   * Called when an accept has failed for another reason. The hold "backoff" has begun.
   *
   * @param isFirst Whether the accept before it had succeeded.
   */
  onFailure(error: unknown, isFirst: boolean): void;
  /** Called when the program has closed the socket, and no connection is waiting or parked. */
  onClosed(): void;
}

/**
 * Accepts connections one at a time, and only while they are wanted.
 *
 * There are two ideas. *Demand*: an accept is in flight only while the service wants a
 * connection. *Holds*: independent reasons not to accept now; accepting resumes when
 * none is left. *Parking* follows from them: Deno cannot cancel an accept without
 * closing the socket. So an accept that is in flight when the demand ends may still
 * bring a connection. The connection is kept, and delivered first when accepting
 * resumes.
 */
export class Acceptor implements SocketOwner {
  /** Why nothing is accepted now. */
  readonly holds = new Holds();
  readonly #socket: Socket;
  readonly #owner: AcceptorOwner;
  readonly #pipeline: Pipeline;
  readonly #ready = new Queue<ConnState>(); // parked: ready, and not delivered
  readonly #backoff = new Backoff(() => this.release(BACKOFF));
  #isRefed: boolean; // by ref() and unref()
  #isAlive: boolean | undefined; // whether it keeps the process alive
  #willDeliver = false; // in a microtask
  #isSocketClosed = false; // by the program
  #hasEnded = false;
  #changed: PromiseWithResolvers<void> | undefined;

  /**
   * @param checks The checks that a connection must pass before it is delivered.
   * @param timeout How long that may take, in ms.
   */
  constructor(
    socket: Socket,
    owner: AcceptorOwner,
    checks: readonly Check[],
    timeout: number,
  ) {
    this.#socket = socket;
    this.#owner = owner;
    this.#pipeline = new Pipeline(checks, timeout, this);
    this.#isRefed = socket.isRefed;
    socket.own(this);
  }

  /** How many connections are accepted, and not ready. */
  get waiting(): number {
    return this.#pipeline.size;
  }

  /** How many connections are ready, and not delivered. */
  get parked(): number {
    return this.#ready.size;
  }

  /** The connections that are not delivered yet. */
  get states(): ConnState[] {
    return [...this.#ready.items, ...this.#pipeline.states];
  }

  // Demand and holds

  /** Whether ready connections may be delivered, apart from the limit. */
  get delivers(): boolean {
    return !this.#hasEnded && this.#owner.hasDemand &&
      !this.holds.stopDelivery;
  }

  /** Whether to accept. Ready connections are delivered first. */
  get isAccepting(): boolean {
    return this.delivers && !this.holds.any && this.#ready.size === 0 &&
      !this.#isSocketClosed;
  }

  hold(reason: string): void {
    if (this.#hasEnded || this.holds.has(reason)) return;
    this.holds.add(reason);
    this.update();
  }

  /** Adds a hold of a reason that may be held several times at once. */
  addHold(reason: string): Disposable {
    let isHeld = !this.#hasEnded;
    if (isHeld) this.holds.add(reason);
    this.update();
    return {
      [Symbol.dispose]: () => {
        if (isHeld) this.release(reason);
        isHeld = false;
      },
    };
  }

  release(reason: string): void {
    if (!this.holds.has(reason)) return;
    this.holds.remove(reason);
    this.update();
  }

  /** Must be called after every change of demand, of holds, and of room. */
  update(): void {
    this.#tellChange();
    if (this.#hasEnded) return;
    const isAlive = this.delivers && this.#isRefed;
    if (isAlive !== this.#isAlive) this.#keepAlive(this.#isAlive = isAlive);
    if (this.isAccepting) this.#socket.accept();
    else if (this.#ready.size === 0) this.#socket.cancel();
    else if (this.#mayDeliver) this.#deliverSoon();
    if (this.#isSocketClosed && this.waiting + this.parked === 0) {
      this.#owner.onClosed();
    }
  }

  // Called by the socket

  onConn(conn: Deno.Conn): void {
    if (this.#hasEnded) return void this.#socket.giveBack(conn);
    this.#backoff.succeed();
    const state = stateOf(conn);
    state.order = this.#owner.onAccepted();
    this.#pipeline.enter(state);
  }

  onError(error: unknown): void {
    if (isClosed(error)) {
      this.#isSocketClosed = true;
    } else if (isPeerGoneBeforeAccept(error)) {
      this.#owner.onGone();
      if (this.#backoff.onPeerGone()) this.hold(BACKOFF);
    } else {
      const isFirst = this.#backoff.fail();
      this.hold(BACKOFF);
      this.#owner.onFailure(error, isFirst);
    }
    this.update();
  }

  // Called by the pipeline. The next accept begins in the same microtask, which drain()
  // relies on.

  onReady(state: ConnState): void {
    if (this.#hasEnded) { // by a hook that a check has called
      if (!this.#socket.giveBack(state.conn)) this.#owner.onDropped(1);
    } else if (this.#ready.size === 0 && this.#mayDeliver) {
      this.#owner.deliver(state);
    } else this.#ready.push(state);
    this.update();
  }

  onRefused(state: ConnState, why: Refusal): void {
    this.#owner.refuse(state, why);
    this.update();
  }

  onWaiting(): void {
    this.#owner.onWaiting();
    this.update();
  }

  get #mayDeliver(): boolean {
    return this.delivers && this.#owner.hasRoom;
  }

  /** Delivers one in each microtask, so that no method of the listener calls the callback. */
  #deliverSoon(): void {
    if (this.#willDeliver) return;
    this.#willDeliver = true;
    queueMicrotask(() => {
      this.#willDeliver = false;
      const state = this.#mayDeliver ? this.#ready.shift() : undefined;
      if (state !== undefined) this.#owner.deliver(state);
      this.update();
    });
  }

  // The process, and the end

  /** Ends the hold "backoff": accepts again at once. */
  retry(): void {
    this.#backoff.end();
    this.release(BACKOFF);
  }

  #keepAlive(isAlive: boolean): void {
    this.#socket.keepAlive(isAlive);
    this.#pipeline.keepAlive(isAlive);
    this.#backoff.keepAlive(isAlive);
  }

  /** Whether the listener keeps the process alive while connections are wanted. */
  get isRefed(): boolean {
    return this.#isRefed;
  }

  set isRefed(isRefed: boolean) {
    this.#isRefed = isRefed;
    this.update();
  }

  /** Resolves at the next update. */
  changed(): Promise<void> {
    this.#changed ??= Promise.withResolvers();
    return this.#changed.promise;
  }

  #tellChange(): void {
    this.#changed?.resolve();
    this.#changed = undefined;
  }

  /** Whether a check is running now. Its connection leaves the pipeline by the result. */
  get isChecking(): boolean {
    return this.#pipeline.isChecking;
  }

  /** Ends accepting for good. Returns the undelivered connections, ready ones first. */
  stop(): ConnState[] {
    this.#hasEnded = true;
    this.holds.clear();
    this.#backoff.end();
    this.#tellChange();
    const waiting = this.#pipeline.end().sort((a, b) => a.order - b.order);
    return [...this.#ready.takeAll(), ...waiting];
  }
}
