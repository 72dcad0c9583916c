import type { ConnState } from "../conn/conn_state.ts";
import { stateOf } from "../conn/front.ts";
import { isClosed, isPeerGoneBeforeAccept } from "../util/failures.ts";
import { Queue } from "../util/queue.ts";
import { Backoff } from "./backoff.ts";
import { BACKOFF, Holds } from "./holds.ts";
import { type Check, Pipeline, type Refusal } from "./pipeline.ts";
import type { Socket, SocketOwner } from "./socket.ts";

/** What the acceptor works for. */
export interface AcceptorOwner {
  /** Whether somebody wants a connection. `update()` is to be called when it changes. */
  readonly hasDemand: boolean;
  /** Whether one more may be delivered. */
  readonly hasRoom: boolean;
  /** Counts a connection that was accepted, and says how many there were. */
  onAccepted(): number;
  /** Gets a connection. Must not throw. */
  deliver(state: ConnState): void;
  /** Gets a connection that is not to be delivered, and why. */
  refuse(state: ConnState, why: Refusal): void;
  /** Told that a connection has begun to wait until it is ready. */
  onWaiting(): void;
  /** Counts connections that were closed before they were delivered. */
  onDropped(count: number): void;
  /** Told that a client was gone before it was accepted. */
  onGone(): void;
  /** Told of another failure, during the hold "backoff", and whether the last accept had succeeded. */
  onFailure(error: unknown, isFirst: boolean): void;
  /** Told that the program has closed the socket, and nobody is left inside. */
  onClosed(): void;
}

/**
 * Accepts connections one at a time, and only while somebody wants one.
 *
 * Two ideas carry it. *Demand*: an accept is in flight only while the service wants a
 * connection. *Holds*: independent reasons not to accept now; accepting goes on when
 * none is left. *Parking* follows from them: Deno cannot cancel an accept without
 * closing the socket, so the one connection that it brings when nobody wants it any
 * more is kept, and delivered first when accepting goes on.
 */
export class Acceptor implements SocketOwner {
  /** Why nothing is accepted now. */
  readonly holds = new Holds();
  readonly #socket: Socket;
  readonly #owner: AcceptorOwner;
  readonly #pipeline: Pipeline;
  readonly #ready = new Queue<ConnState>(); // and not delivered: parked
  readonly #backoff = new Backoff(() => this.release(BACKOFF));
  #isRefed: boolean; // by ref() and unref()
  #isAlive: boolean | undefined; // whether it keeps the process alive
  #isDelivering = false; // in a microtask
  #isSocketClosed = false; // by the program
  #hasEnded = false;
  #changed: PromiseWithResolvers<void> | undefined;

  /**
   * @param checks What a connection has to pass before it is delivered.
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

  /** How many are accepted, and wait until they are ready. */
  get waiting(): number {
    return this.#pipeline.size;
  }

  /** How many are ready, and not delivered. */
  get parked(): number {
    return this.#ready.size;
  }

  /** What is not delivered yet. */
  get states(): ConnState[] {
    return [...this.#ready.items, ...this.#pipeline.states];
  }

  // Demand and holds

  /** Whether what is accepted is wanted. */
  get isTaking(): boolean {
    return !this.#hasEnded && this.#owner.hasDemand &&
      !this.holds.stopDelivery;
  }

  /** Whether more is wanted. What is ready goes first. */
  get isAccepting(): boolean {
    return this.isTaking && !this.holds.any && this.#ready.size === 0 &&
      !this.#isSocketClosed;
  }

  hold(reason: string): void {
    if (this.#hasEnded || this.holds.has(reason)) return;
    this.holds.add(reason);
    this.update();
  }

  /** Holds for a reason that the program may have several times at once. */
  holdOnce(reason: string): Disposable {
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
    const isAlive = this.isTaking && this.#isRefed;
    if (isAlive !== this.#isAlive) this.#keepAlive(this.#isAlive = isAlive);
    if (this.isAccepting) this.#socket.accept();
    else if (this.#ready.size === 0) this.#socket.cancel();
    else if (this.#mayDeliver) this.#deliverSoon();
    if (this.#isSocketClosed && this.waiting + this.parked === 0) {
      this.#owner.onClosed();
    }
  }

  // What the socket brings

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
      if (this.#backoff.miss()) this.hold(BACKOFF);
    } else {
      const isFirst = this.#backoff.fail();
      this.hold(BACKOFF);
      this.#owner.onFailure(error, isFirst);
    }
    this.update();
  }

  // What the pipeline brings. The next accept begins in the same microtask: the drain
  // counts on it.

  onReady(state: ConnState): void {
    if (this.#hasEnded) { // by a check's hook
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
    return this.isTaking && this.#owner.hasRoom;
  }

  /** One after the other, each in a microtask: never from inside a verb. */
  #deliverSoon(): void {
    if (this.#isDelivering) return;
    this.#isDelivering = true;
    queueMicrotask(() => {
      this.#isDelivering = false;
      const state = this.#mayDeliver ? this.#ready.shift() : undefined;
      if (state !== undefined) this.#owner.deliver(state);
      this.update();
    });
  }

  // The rest

  /** Tries at once, if it waits after a failure. */
  retry(): void {
    this.#backoff.end();
    this.release(BACKOFF);
  }

  #keepAlive(isAlive: boolean): void {
    this.#socket.keepAlive(isAlive);
    this.#pipeline.keepAlive(isAlive);
    this.#backoff.keepAlive(isAlive);
  }

  /** Whether the process is to be kept alive while connections are wanted. */
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

  /** Whether a connection is being asked about. It leaves by the answer. */
  get isAsking(): boolean {
    return this.#pipeline.isAsking;
  }

  /** Ends accepting, for ever. Gives what was not delivered, what is ready first. */
  stop(): ConnState[] {
    this.#hasEnded = true;
    this.holds.clear();
    this.#backoff.end();
    this.#tellChange();
    const waiting = this.#pipeline.end().sort((a, b) => a.order - b.order);
    return [...this.#ready.takeAll(), ...waiting];
  }
}
