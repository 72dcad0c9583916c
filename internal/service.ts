import type { ConnListener } from "../listener.ts";
import type { Acceptor, Owner } from "./accept/acceptor.ts";
import { ActiveConns } from "./conn/active_conns.ts";
import { formatAddr } from "./util/addr.ts";
import { close, dispose, handshakeFailure } from "./conn/close.ts";
import {
  errorCode,
  isCancelled,
  isPeerGoneWhileServed,
  isSame,
  toError,
} from "./util/failures.ts";
import { callHook, isPromise, print } from "./util/hooks.ts";
import { LastLines } from "./conn/last_lines.ts";
import { Peers } from "./conn/peers.ts";
import { Queue } from "./util/queue.ts";
import type { Settings } from "./settings.ts";
import type { Stage } from "./accept/stage.ts";
import type { Host } from "./accept/stages.ts";
import type {
  AcceptErrorCallback,
  ConnectionCallback,
  ListenerStats,
  RejectReason,
} from "./types.ts";

// deno-lint-ignore no-explicit-any
type AnyCallback<C extends Deno.Conn> = ConnectionCallback<C, any>;

/** Who gets a connection, what becomes of it, and how many there may be. */
export class Service<C extends Deno.Conn, A extends Deno.Addr>
  implements Owner<C>, Host<C> {
  readonly #listener: ConnListener<C>;
  readonly #settings: Settings<C>;
  #stage!: Stage<C, A>; // the outermost
  #acceptor!: Acceptor<C, A>;
  #hasEnded = false;

  // Demand: a callback is set, or somebody waits. Waiters get undefined at the end.
  #callback: AnyCallback<C> | null = null;
  #data: unknown;
  readonly #waiters = new Queue<(conn: C | undefined) => void>();

  #maxConnections: number;
  #maxPerPeer: number;
  readonly #peers = new Peers<C>();
  readonly #lastLines = new LastLines();
  readonly #counts = {
    /** Accepted, and not in a stage or parked any more. */
    accepted: 0,
    rejected: 0,
    aborted: 0,
    timedOut: 0,
    acceptErrors: 0,
    connectionErrors: 0,
  };
  /** Those whose callback's promise is pending. */
  readonly active = new ActiveConns<C>();
  /** Told of failures to accept. */
  onAcceptError: AcceptErrorCallback<C, unknown> | null;
  /** The program's own say about a connection. */
  readonly admits: ((conn: C) => boolean) | undefined;

  constructor(listener: ConnListener<C>, settings: Settings<C>) {
    this.#listener = listener;
    this.#settings = settings;
    this.#maxConnections = settings.maxConnections;
    this.#maxPerPeer = settings.maxConnectionsPerPeer;
    this.onAcceptError = settings.onAcceptError ?? null;
    const { admit } = settings;
    this.admits = admit && ((conn) => admit(conn.remoteAddr, listener));
  }

  /** Begins to work with what brings the connections. */
  begin(
    stage: Stage<C, A>,
    acceptor: Acceptor<C, A>,
    callback: AnyCallback<C> | null,
    data: unknown,
  ): void {
    this.#stage = stage;
    this.#acceptor = acceptor;
    this.#callback = callback;
    this.#data = data;
  }

  get stats(): ListenerStats {
    const { accepted, ...others } = this.#counts;
    const { parked } = this.#acceptor;
    const { waiting } = this.#stage;
    const active = this.active.size;
    return {
      accepted: accepted + parked + waiting,
      active,
      parked,
      waiting,
      ...others,
    };
  }

  // Demand

  hasDemand = (): boolean => this.hasCallback || this.#waiters.size > 0;

  get hasCallback(): boolean {
    return this.#callback !== null;
  }

  setCallback(callback: AnyCallback<C> | null, data: unknown): void {
    if (callback && this.#waiters.size > 0) {
      throw new TypeError("Cannot set a callback as an accept() is waiting");
    }
    this.#callback = callback;
    this.#data = data;
    this.#acceptor.update();
  }

  /** Gives the next connection to somebody. */
  wait(waiter: (conn: C | undefined) => void): void {
    if (this.#callback !== null) {
      throw new TypeError("Cannot accept as a callback gets every connection");
    }
    this.#waiters.push(waiter);
    this.#acceptor.update();
  }

  // Delivery

  take = (conn: C): void => {
    const isLimited = this.#maxPerPeer !== Infinity;
    if (isLimited && !this.#peers.enter(conn, this.#maxPerPeer)) {
      return this.turnAway(conn, "peer");
    }
    this.#counts.accepted++;
    if (this.#callback === null) this.#give(conn);
    else this.#call(this.#callback, conn);
    if (this.#isLimited) this.#checkLimit();
  };

  /** To who waits for it. Whoever takes it so is not counted. */
  #give(conn: C): void {
    this.#peers.leave(conn);
    this.#waiters.shift()!(conn);
  }

  /** Whatever a callback throws ends here. */
  #call(callback: AnyCallback<C>, conn: C): void {
    try {
      const handled: unknown = callback(conn, this.#listener, this.#data);
      // Only a promise makes the connection ours to count and to close.
      if (isPromise(handled)) return void this.#serve(conn, handled);
    } catch (error) {
      this.#fail(error, conn);
    }
    this.#peers.leave(conn);
  }

  /** Counts a connection until its callback's promise settles, and closes it then. */
  async #serve(conn: C, handled: PromiseLike<unknown>): Promise<void> {
    const slot = this.active.add(conn);
    if (this.#maxPerPeer !== Infinity) this.#peers.enter(conn);
    const handshake = handshakeFailure(conn);
    try {
      await handled;
      dispose(conn); // the callback may have closed it
    } catch (error) {
      this.#fail(error, conn, handshake);
    }
    this.active.delete(slot);
    this.#peers.leave(conn);
    this.#freed();
  }

  /** Closes the connection, and tells of the failure later: places are freed first. */
  async #fail(
    error: unknown,
    conn: C,
    handshake?: Promise<unknown>,
  ): Promise<void> {
    const wasOpen = close(conn);
    const failure = await handshake;
    if (isCancelled(error)) {
      if (!wasOpen) return;
    } else if (failure !== undefined && isSame(failure, error)) {
      return void this.#counts.aborted++;
    }
    if (!isPeerGoneWhileServed(error)) this.onError(error, conn);
  }

  onError = (error: unknown, conn: C): void => {
    this.#counts.connectionErrors++;
    const hook = this.#settings.onConnectionError;
    if (hook) callHook(() => hook(error, conn, this.#listener));
    else print(console.error, "Error in a connection callback:", error);
  };

  onFailure = (thrown: unknown, isFirst: boolean): void => {
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
  };

  onGone = (): void => void this.#counts.aborted++;

  onTimeOut = (): void => void this.#counts.timedOut++;

  onClosed = (): void => void this.#listener.close();

  // Limits

  get maxConnections(): number {
    return this.#maxConnections;
  }

  set maxConnections(max: number) {
    this.#maxConnections = max;
    this.#checkLimit();
  }

  get maxConnectionsPerPeer(): number {
    return this.#maxPerPeer;
  }

  set maxConnectionsPerPeer(max: number) {
    // Without a limit, those that are active were not counted.
    for (const conn of this.active) this.#peers.enter(conn);
    this.#maxPerPeer = max;
  }

  get #isLimited(): boolean {
    return this.#maxConnections !== Infinity;
  }

  isFull = (): boolean => {
    const count = this.active.size + this.#stage.waiting;
    return count >= this.#maxConnections && !this.#hasEnded;
  };

  peerHasRoom = (conn: C): boolean =>
    this.#maxPerPeer === Infinity || this.#peers.enter(conn, this.#maxPerPeer);

  onEnter = (): void => {
    if (this.#isLimited) this.#checkLimit();
  };

  /** Looks at the limit again, after a change on either side of it. */
  #checkLimit(): void {
    if (this.#settings.overflow === "queue" && this.isFull()) {
      this.#acceptor.hold("full");
    } else {
      this.#acceptor.release("full");
    }
  }

  /** A connection is closed: there is a descriptor again, and perhaps a place. */
  #freed(): void {
    if (!this.#isLimited && !this.#acceptor.isHeld) return; // nothing follows
    this.#acceptor.retry();
    this.#checkLimit();
  }

  /** Closes a connection that is not to be delivered. */
  turnAway = (conn: C, why: false | RejectReason): void => {
    this.#peers.leave(conn);
    this.#counts.accepted++;
    if (why) this.#counts.rejected++;
    else this.#counts.aborted++;
    if (this.#isLimited) this.#checkLimit(); // before anybody is told
    const { onReject } = this.#settings;
    const say = () => why && onReject?.(conn, why, this.#listener);
    if (this.#lastLines.close(conn, say, () => this.#freed())) this.#freed();
  };

  /**
   * Ends the demand.
   *
   * @returns What is accepted and not delivered, and those who wait for a connection.
   */
  end(): {
    inHand: (C | Promise<C>)[];
    waiters: ((conn: C | undefined) => void)[];
  } {
    this.#hasEnded = true;
    this.#counts.accepted += this.#acceptor.parked + this.#stage.waiting;
    const waiters = this.#waiters.takeAll();
    const inHand = this.#acceptor.stop();
    for (const item of inHand) this.#peers.leave(item as C);
    return { inHand, waiters };
  }

  /** Resolves when nobody is active, and no last line is under way. */
  async idle(): Promise<void> {
    await Promise.all([this.active.emptied(), this.#lastLines.done()]);
  }
}
