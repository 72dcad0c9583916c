/** What a worker does: it carries out the orders of its parent. */
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
import { FROM, type Order, type Sent, toThrown } from "./protocol.ts";
import {
  isServing,
  report,
  scope,
  type Serving,
  setServing,
} from "./worker_scope.ts";

/**
 * How long a worker that leaves waits for the end of a hold of its own, in ms, while it
 * has connections that are ready: as long as a client may take to be ready.
 */
const MAX_HELD = 30_000;

/** The orders that end the listener. */
const ENDS: ReadonlySet<string> = new Set(["leave", "shutdown", "close"]);

/** Its data is what the parent has given. */
// deno-lint-ignore no-explicit-any
type Callback = ConnectionCallback<Deno.TcpConn, any>;

/** How to serve. */
export interface Served {
  /** Makes a listener without a callback, with the options of this worker. */
  listen(socket: Socket): ConnListener;
  callback: Callback;
  /** Whether the listener turns clients away when it is full. */
  rejects: boolean;
}

/** Waits for orders, and carries them out one after the other. */
export function serve(served: Served): void {
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
  setServing(new ParallelServing(served));
}

class ParallelServing implements Serving {
  readonly #served: Served;
  #listener: ConnListener | undefined;
  #balanced: BalancedSocket | undefined; // where the queue is shared
  #last: Promise<unknown> = Promise.resolve(); // the order before
  readonly #endings: Promise<void>[] = []; // the orders that end it
  #leaving: Promise<ShutdownResult> | undefined;
  readonly #leaveBy = new Deadline(); // then a worker that leaves closes its connections
  #isDraining = false; // it has left, and waits for active connections alone
  #begun = 0; // how many callbacks have returned a promise
  #isWatched = false; // by the parent, for being busy or idle
  #wasBusy = false; // as reported last

  constructor(served: Served) {
    this.#served = served;
    scope.addEventListener("message", (event) => {
      const order: Sent = (event as MessageEvent).data;
      const answered = this.#last.then(() => this.#answer(order));
      // What ends it may take long, and be hurried by another.
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

  async #answer({ id, ...order }: Sent): Promise<void> {
    try {
      const result = await this.#obey(order as Order);
      report({ report: "answer", id, ...result && { result } });
    } catch (error) {
      report({ report: "answer", id, error: toThrown(error) });
    }
  }

  async #obey(order: Order): Promise<ShutdownResult | void> {
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
        this.#wasBusy = listener.stats.active > 0; // as the answer says
        return;
      case "leave":
        return await this.#leave(listener, order.timeout);
      case "shutdown":
        return await this.#shutDown(listener, order.timeout);
      case "close":
        return await listener.close();
        // "stats" come with each answer.
    }
  }

  #listen({ place, data, paused, load }: Order & { order: "listen" }): void {
    const { listen, rejects } = this.#served;
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
      await Promise.all(this.#endings); // or nobody would hear how it went
      report({ report: "finished" });
    });
  }

  /** The program's callback, with what follows when a connection comes and ends. */
  #callback: Callback = (conn, listener, data) => {
    const handled = this.#served.callback(conn, listener, data);
    if (!isPromise(handled)) return handled; // nobody counts it
    this.#begun++;
    if (this.#isWatched) this.#changed();
    const served = Promise.resolve(handled);
    served.then(this.#changed, this.#changed);
    return served;
  };

  /** The listener counts a connection right after its callback, and after its end. */
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

  /** What it has accepted already is delivered before. One that leaves accepts nothing. */
  async #pause(listener: ConnListener): Promise<void> {
    if (this.#endings.length > 0) return;
    using _suspended = this.#balanced?.suspend();
    await this.#balanced?.settled();
    await nextTurn(() => true); // what has come is delivered
    listener.pause();
  }

  /** A shared queue is left to the other workers. Its own queue is served first. */
  #leave(listener: ConnListener, timeout: number): Promise<ShutdownResult> {
    this.#hurry(timeout);
    return this.#leaving ??= this.#serveToTheEnd(listener);
  }

  async #serveToTheEnd(listener: ConnListener): Promise<ShutdownResult> {
    if (this.#balanced) {
      this.#balanced.leave();
      await this.#balanced.settled();
      report({ report: "left" });
      listener.resume(); // to deliver what it has accepted: no more comes
      await this.#deliverRest(listener);
    }
    const timeout = this.#leaveBy.left;
    this.#leaveBy.clear();
    this.#isDraining = true;
    const drainBacklog = this.#balanced === undefined;
    return await listener.shutdown({ timeout, drainBacklog });
  }

  /** Resolves when it has delivered what it has accepted, or its time is over. */
  async #deliverRest(listener: ConnListener): Promise<void> {
    const patience = isHeld(listener) ? MAX_HELD : Infinity;
    const isOver = Promise.race([closedOf(listener), this.#leaveBy.over]);
    await within(patience, isOver);
  }

  #hurry(timeout: number): void {
    this.#leaveBy.limit(timeout);
  }

  async #shutDown(
    listener: ConnListener,
    timeout: number,
  ): Promise<ShutdownResult> {
    if (this.#leaving === undefined) {
      this.#balanced?.end(); // no worker is left to take what comes
      await nextTurn(() => true); // its accept is in flight again
      return await listener.shutdown({ timeout });
    }
    // It was leaving before, but what it counts begins now.
    const before = this.#begun - listener.stats.active;
    this.#hurry(timeout);
    if (this.#isDraining) listener.shutdown({ timeout });
    const { aborted } = await this.#leaving;
    return { completed: this.#begun - before - aborted, aborted };
  }
}

/** Resolves when a listener is closed, which it does itself once its socket is. */
function closedOf({ signal }: ConnListener): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve());
  });
}

/** Whether the program keeps the listener from delivering. */
function isHeld({ holds }: ConnListener): boolean {
  return holds.some((reason) => reason !== "full" && reason !== "backoff");
}
