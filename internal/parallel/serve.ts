/** The worker's side: carries out the orders of the parent. */
import type { ConnListener } from "../../listener.ts";
import type { Socket } from "../accept/socket.ts";
import type { ConnectionCallback } from "../options.ts";
import type { ListenerStats, ShutdownResult } from "../types.ts";
import { Deadline } from "../util/deadline.ts";
import { nextTurn } from "../util/event_loop.ts";
import { isPromise } from "../util/hooks.ts";
import { within } from "../util/within.ts";
import { BalancedSocket } from "./balanced_socket.ts";
import { Load } from "./load.ts";
import { listenAt } from "./place.ts";
import { NOTHING } from "../stats.ts";
import { FROM, type Order, type SentOrder, toThrown } from "./protocol.ts";
import {
  isServing,
  report,
  scope,
  setService,
  type WorkerService,
} from "./worker_scope.ts";

/**
 * How long a worker that leaves waits for the program's own holds to end, in ms, so that
 * it can deliver accepted connections. The default of `handshakeTimeout` is as long.
 */
const HOLD_TIMEOUT = 30_000;

/** The orders that end the listener. */
const ENDS: ReadonlySet<string> = new Set(["leave", "shutdown", "close"]);

/** The callback of the program. Its data comes from the parent. */
// deno-lint-ignore no-explicit-any
type Callback = ConnectionCallback<Deno.TcpConn, any>;

/** What `serveParallel()` has been called with. */
export interface ServeParams {
  /** Makes a listener without a callback, with the options of this worker. */
  listen(socket: Socket): ConnListener;
  callback: Callback;
  /** Whether the listener has `overflow: "reject"`. */
  rejects: boolean;
}

/** Waits for orders, and carries them out one after the other. */
export function serve(params: ServeParams): void {
  if (scope.postMessage === undefined) {
    throw new TypeError(
      "Cannot serve as this is not a worker: listenParallel() starts one for each core",
    );
  }
  if (!scope.name?.startsWith(FROM)) {
    throw new TypeError(
      "Cannot serve as listenParallel() has not started this worker",
    );
  }
  if (isServing()) {
    throw new TypeError("Cannot serve as this worker serves already");
  }
  setService(new OrderHandler(params));
}

class OrderHandler implements WorkerService {
  readonly #params: ServeParams;
  #listener: ConnListener | undefined;
  #balanced: BalancedSocket | undefined; // if the queue is shared
  #last: Promise<unknown> = Promise.resolve(); // the last order
  readonly #endings: Promise<void>[] = []; // the orders that end the listener
  #leaving: Promise<ShutdownResult> | undefined;
  readonly #leaveBy = new Deadline(); // when a worker that leaves closes its connections
  #isDraining = false; // it has left, and waits for active connections
  #begun = 0; // how many callbacks have returned a promise
  #isWatched = false; // it reports when it becomes busy or idle
  #wasBusy = false; // as last reported

  constructor(params: ServeParams) {
    this.#params = params;
    scope.addEventListener("message", (event) => {
      const order: SentOrder = (event as MessageEvent).data;
      const answered = this.#last.then(() => this.#answer(order));
      // An order that ends the listener may take long, and a second one can shorten it.
      if (ENDS.has(order.order)) this.#endings.push(answered);
      else this.#last = answered;
    });
  }

  get stats(): ListenerStats {
    return this.#listener?.stats ?? NOTHING;
  }

  leaveQueue(): void {
    this.#balanced?.end();
    if (this.#balanced) this.#balanced.suspend();
    else this.#listener?.pause();
  }

  async #answer({ id, ...order }: SentOrder): Promise<void> {
    try {
      const result = await this.#carryOut(order as Order);
      report({ report: "answer", id, ...result && { result } });
    } catch (error) {
      report({ report: "answer", id, error: toThrown(error) });
    }
  }

  async #carryOut(order: Order): Promise<ShutdownResult | void> {
    if (order.order === "listen") return this.#listen(order);
    const listener = this.#listener!;
    switch (order.order) {
      case "pause":
        return await this.#pause(listener);
      case "resume":
        return listener.resume();
      case "setData":
        return listener.setCallback(this.#callback, order.data);
      case "watch":
        this.#isWatched = order.isWatched;
        this.#wasBusy = listener.stats.active > 0; // the answer reports it
        return;
      case "leave":
        return await this.#leave(listener, order.timeout);
      case "shutdown":
        return await this.#shutDown(listener, order.timeout);
      case "close":
        return await listener.close();
        // "stats": each answer has them.
    }
  }

  #listen({ place, data, paused, load }: Order & { order: "listen" }): void {
    const { listen, rejects } = this.#params;
    const socket = listenAt(place, (open) => {
      const own = new Load(load.buffer, load.slot);
      return this.#balanced = new BalancedSocket(open, own, rejects);
    });
    const listener = this.#listener = listen(socket);
    if (this.#balanced) this.#balanced.owner = listener;
    if (paused) listener.pause();
    listener.setCallback(this.#callback, data);
    listener.signal.addEventListener("abort", () => {
      report({ report: "left" });
    });
    listener.finished.then(async () => {
      await Promise.all(this.#endings); // their answers come first
      report({ report: "finished" });
    });
  }

  /** Calls the program's callback, and follows the connection. */
  #callback: Callback = (conn, listener, data) => {
    const handled = this.#params.callback(conn, listener, data);
    if (!isPromise(handled)) return handled; // the connection is not counted
    this.#begun++;
    if (this.#isWatched) this.#changed();
    const served = Promise.resolve(handled);
    served.then(this.#changed, this.#changed);
    return served;
  };

  /** Runs in a microtask: the listener counts connections after this code. */
  #changed = () =>
    queueMicrotask(() => {
      this.#balanced?.update();
      if (this.#isWatched) this.#reportBusy();
    });

  #reportBusy(): void {
    const isBusy = this.stats.active > 0;
    if (isBusy !== this.#wasBusy) report({ report: "changed" });
    this.#wasBusy = isBusy;
  }

  /** Delivers accepted connections, then pauses. A worker that leaves accepts nothing anyway. */
  async #pause(listener: ConnListener): Promise<void> {
    if (this.#endings.length > 0) return;
    using _suspended = this.#balanced?.suspend();
    await this.#balanced?.settled();
    await nextTurn(() => true); // accepted connections are delivered
    listener.pause();
  }

  /** Leaves a shared queue to the other workers. A queue of its own is served first. */
  #leave(listener: ConnListener, timeout: number): Promise<ShutdownResult> {
    this.#leaveBy.limit(timeout);
    return this.#leaving ??= this.#serveToTheEnd(listener);
  }

  async #serveToTheEnd(listener: ConnListener): Promise<ShutdownResult> {
    if (this.#balanced) {
      this.#balanced.leave();
      await this.#balanced.settled();
      report({ report: "left" });
      listener.resume(); // delivers accepted connections; no more are accepted
      await this.#deliverRest(listener);
    }
    const timeout = this.#leaveBy.left;
    this.#leaveBy.clear();
    this.#isDraining = true;
    const drainBacklog = this.#balanced === undefined;
    return await listener.shutdown({ timeout, drainBacklog });
  }

  /** Resolves when all accepted connections are delivered, or the time is over. */
  async #deliverRest(listener: ConnListener): Promise<void> {
    const maxWait = isHeld(listener) ? HOLD_TIMEOUT : Infinity;
    const isOver = Promise.race([closedOf(listener), this.#leaveBy.over]);
    await within(maxWait, isOver);
  }

  async #shutDown(
    listener: ConnListener,
    timeout: number,
  ): Promise<ShutdownResult> {
    if (this.#leaving === undefined) {
      this.#balanced?.end(); // no other worker accepts the connections in the queue
      await nextTurn(() => true); // an accept is in flight again
      return await listener.shutdown({ timeout });
    }
    // It was leaving already, but the result counts from this order on.
    const before = this.#begun - listener.stats.active;
    this.#leaveBy.limit(timeout);
    if (this.#isDraining) listener.shutdown({ timeout });
    const { aborted } = await this.#leaving;
    return { completed: this.#begun - before - aborted, aborted };
  }
}

/** Resolves when a listener is closed. It closes itself when its socket is closed. */
function closedOf({ signal }: ConnListener): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve());
  });
}

/** Whether a hold of the program, or a pause, stops the delivery. */
function isHeld({ holds }: ConnListener): boolean {
  return holds.some((reason) => reason !== "full" && reason !== "backoff");
}
