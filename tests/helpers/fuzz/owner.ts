import { assert, assertEquals } from "@std/assert";
import {
  ConnListener,
  LEV_OPT_CLOSE_ON_FREE,
  LEV_OPT_DEFERRED_ACCEPT,
  type ListenerOptions,
  type RejectReason,
} from "@evconn/listener";
import { readOnce, Settings } from "../../../internal/settings.ts";
import type { Choose, FuzzClient } from "./client.ts";

/** What a listener under test is made for. */
export interface Hooks {
  readonly choose: Choose;
  readonly isTls: boolean;
  readonly isPlain: boolean;
  readonly isRefed: boolean;
  onDelivery(conn: Deno.Conn, owner: FuzzOwner): unknown;
  isPassed(): boolean;
  onReject(conn: Deno.Conn, why: RejectReason, owner: FuzzOwner): unknown;
  onError(): void;
}

/** A listener under test, and what was seen of it. */
export class FuzzOwner {
  readonly listener: ConnListener;
  readonly options: ListenerOptions;
  readonly holds: Disposable[] = [];
  /** Connections whose callback's promise is pending, and what settles it. */
  readonly serving = new Map<FuzzClient, () => void>();
  delivered = 0;
  rejected = 0;
  /** Clients that it was told were gone before they were accepted. */
  gone = 0;
  /** Calls of `accept()` and `next()` that are pending. */
  waiters = 0;
  hasCallback: boolean;
  isRefed: boolean;
  isDetached = false;
  isFinished = false;
  /** The highest limit per peer that it has had. */
  mostPerPeer: number;
  readonly #hooks: Hooks;
  #accepted = 0; // when it was last looked at

  constructor(socket: Deno.Listener, hooks: Hooks) {
    const { choose } = hooks;
    this.#hooks = hooks;
    this.isRefed = hooks.isRefed;
    this.options = { ...this.#options(choose), ...this.#checks(hooks) };
    this.mostPerPeer = this.options.maxConnectionsPerPeer!;
    this.hasCallback = choose(3) > 0;
    // Deferred accept is for listen() only, which makes its settings first.
    const settings: unknown = new Settings(readOnce(this.options) as never);
    this.listener = new ConnListener(
      socket as Deno.Listener<Deno.TcpConn, Deno.NetAddr>,
      settings as ListenerOptions,
      this.hasCallback ? this.#callback : null,
    );
    this.listener.finished.then(() => this.isFinished = true);
  }

  readonly #callback = (conn: Deno.Conn) => {
    this.delivered++;
    return this.#hooks.onDelivery(conn, this);
  };

  #options(choose: Choose): ListenerOptions {
    const one = <T>(...of: T[]) => of[choose(of.length)]!;
    return {
      flags: one(0, LEV_OPT_CLOSE_ON_FREE),
      maxConnections: one(Infinity, Infinity, 1, 2, 3),
      overflow: one("queue", "reject"),
      maxConnectionsPerPeer: one(Infinity, Infinity, 1, 2),
      idleTimeout: one(Infinity, Infinity, 200),
      onReject: (conn, why) => {
        this.rejected++;
        return this.#hooks.onReject(conn, why, this);
      },
      onAcceptError: () => this.#hooks.onError(),
      onConnectionError: () => this.#hooks.onError(),
    };
  }

  /** What is looked at, or waited for, before a connection is delivered. */
  #checks({ choose, isTls, isPlain }: Hooks): ListenerOptions {
    if (isPlain) return {};
    const passes = () => this.#hooks.isPassed();
    const trusts = [false, false, true, passes] as const;
    return {
      ...choose(3) === 0 && { flags: LEV_OPT_DEFERRED_ACCEPT },
      ...choose(2) === 0 && { admit: passes },
      proxyProtocol: !isTls && trusts[choose(4)]!,
      ...choose(2) === 0 && { handshakeTimeout: [50, 500][choose(2)]! },
    };
  }

  setCallback(isSet: boolean): void {
    if (this.waiters > 0 && isSet) return; // it would be refused
    this.listener.setCallback(isSet ? this.#callback : null);
    this.hasCallback = isSet;
  }

  /** Asks for a connection. */
  async accept(ask: () => Promise<Deno.Conn | undefined>): Promise<
    Deno.Conn | undefined
  > {
    if (this.hasCallback) return; // it would be refused
    this.waiters++;
    try {
      const conn = await ask();
      if (conn !== undefined) this.delivered++;
      return conn;
    } finally {
      this.waiters--;
    }
  }

  get isIdling(): boolean {
    return this.options.idleTimeout !== Infinity;
  }

  get closesOnFree(): boolean {
    return (this.options.flags! & LEV_OPT_CLOSE_ON_FREE) !== 0;
  }

  /** Whether somebody wants a connection, and no hold stops the delivery. */
  get isTaking(): boolean {
    const passing = ["full", "backoff"];
    const { holds } = this.listener;
    return (this.hasCallback || this.waiters > 0) &&
      holds.every((reason) => passing.includes(reason));
  }

  /** How many of those that it has accepted are nowhere: given to the next owner. */
  get elsewhere(): number {
    const { stats } = this.listener;
    return stats.accepted + this.gone - this.delivered - stats.rejected -
      stats.aborted - stats.waiting - stats.parked;
  }

  /** What holds at any moment, also in a hook. */
  check(): void {
    const { accepted, rejected } = this.listener.stats;
    assert(accepted >= this.#accepted, "accepted has gone down");
    this.#accepted = accepted;
    assert(this.elsewhere >= 0, `${-this.elsewhere} more than were accepted`);
    // One that accept() gives is seen later.
    const isExact = this.waiters === 0 && !this.isDetached;
    if (isExact) assertEquals(this.elsewhere, 0, "accepted, and nowhere");
    assert(rejected >= this.rejected, "told, and not rejected");
  }

  /** What holds when no microtask is left. */
  checkAtRest(): void {
    this.check();
    const { active, waiting, parked, rejected } = this.listener.stats;
    assertEquals(active, this.serving.size, "active");
    assertEquals(rejected, this.rejected, "rejected, and told");
    const { holds, maxConnections } = this.listener;
    if (holds.includes("full")) {
      const count = active + waiting + parked;
      assert(count >= maxConnections, `full with ${count}`);
    }
    if (this.isDetached) assertEquals([waiting, parked], [0, 0]);
    else assert(this.elsewhere === 0, "accepted, and nowhere");
  }
}
