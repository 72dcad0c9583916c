/** What a worker does: it carries out the orders of its parent. */
import type { ConnListener } from "../../listener.ts";
import { BALANCE } from "../accept/holds.ts";
import { nextTurn } from "../util/event_loop.ts";
import { Balance, type Callback } from "./balance.ts";
import { Load } from "./load.ts";
import { holdForLife } from "./life_lock.ts";
import { listenAt } from "./place.ts";
import {
  FROM,
  NOTHING,
  type Order,
  type Report,
  type Sent,
  toThrown,
} from "./protocol.ts";
import { SharedSocket } from "./shared_socket.ts";
import { within } from "../util/within.ts";
import type { Socket } from "../accept/socket.ts";
import type { ShutdownResult } from "../types.ts";

/** The orders after which it takes nobody any more. */
const ENDS: ReadonlySet<string> = new Set(["leave", "shutdown", "close"]);

/** What there is in a worker, beside what every program has. */
type Scope = EventTarget & {
  name: string;
  postMessage(report: Report): void;
};

/** Makes a listener without a callback, with the options of this worker. */
type Make = (socket: Socket) => ConnListener;

let isServing = false;

/** Waits for orders, and carries them out one after the other. */
export function serve(make: Make, callback: Callback): void {
  const scope = globalThis as unknown as Scope;
  if (typeof scope.postMessage !== "function") {
    throw new TypeError(
      "Cannot serve as this is not a worker: listenParallel() starts one for each core",
    );
  }
  if (isServing) {
    throw new TypeError("Cannot serve as this worker serves already");
  }
  isServing = true;
  new Serving(scope, make, callback);
}

type Omitted<T> = T extends unknown ? Omit<T, "from" | "stats"> : never;

class Serving {
  readonly #scope: Scope;
  readonly #make: Make;
  readonly #callback: Callback;
  #listener: ConnListener | undefined;
  #shared: { socket: SharedSocket; balance: Balance } | undefined;
  #last: Promise<unknown> = Promise.resolve(); // the order before
  readonly #endings: Promise<void>[] = []; // the orders that end it

  constructor(scope: Scope, make: Make, callback: Callback) {
    this.#scope = scope;
    this.#make = make;
    this.#callback = callback;
    scope.addEventListener("message", (event) => {
      const order: Sent = (event as MessageEvent).data;
      const answered = this.#last.then(() => this.#answer(order));
      // What ends it may take long, and be hurried by another.
      if (ENDS.has(order.order)) this.#endings.push(answered);
      else this.#last = answered;
    });
    const fail = (event: Event, error: unknown) => {
      if (event.defaultPrevented) return; // the program has dealt with it
      event.preventDefault();
      this.#report({ report: "failed", error: toThrown(error) });
    };
    scope.addEventListener("error", (event) => {
      fail(event, (event as ErrorEvent).error);
    });
    scope.addEventListener("unhandledrejection", (event) => {
      fail(event, (event as PromiseRejectionEvent).reason);
    });
    holdForLife(scope.name).then(() => this.#report({ report: "loaded" }));
  }

  #report(report: Omitted<Report>): void {
    const stats = this.#listener?.stats ?? NOTHING;
    this.#scope.postMessage({ ...report, from: FROM, stats } as Report);
  }

  async #answer({ id, ...order }: Sent): Promise<void> {
    try {
      const result = await this.#obey(order as Order);
      this.#report({ report: "answer", id, ...result && { result } });
    } catch (error) {
      this.#report({ report: "answer", id, error: toThrown(error) });
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
        return this.#setData(listener, order.data);
      case "leave":
        return await this.#leave(listener, order.timeout);
      case "shutdown":
        await this.#shared?.balance.takeAll();
        return await listener.shutdown({ timeout: order.timeout });
      case "close":
        return await listener.close();
        // "stats" come with each answer.
    }
  }

  #listen({ place, data, paused, load }: Order & { order: "listen" }): void {
    const socket = listenAt(place);
    const listener = this.#listener = this.#make(socket);
    if (socket instanceof SharedSocket) {
      const { buffer, slot } = load;
      const balance = new Balance(socket, new Load(buffer, slot));
      balance.listener = listener;
      this.#shared = { socket, balance };
    }
    if (paused) listener.pause();
    this.#setData(listener, data);
    listener.signal.addEventListener("abort", () => {
      this.#report({ report: "left" });
    });
    listener.finished.then(async () => {
      await Promise.all(this.#endings); // or nobody would hear how it went
      this.#report({ report: "finished" });
    });
  }

  #setData(listener: ConnListener, data: unknown): void {
    const { balance } = this.#shared ?? {};
    const callback = balance?.count(this.#callback) ?? this.#callback;
    listener.setCallback(callback, data);
  }

  /** What is accepted already is delivered before. One that is leaving is not paused. */
  async #pause(listener: ConnListener): Promise<void> {
    if (this.#endings.length > 0) return;
    if (this.#shared !== undefined) {
      using _hold = listener.hold(BALANCE); // cancels the accept
      await nextTurn(() => true); // it may have brought a connection
      listener.pause();
    } else listener.pause();
  }

  /** Where the queue is shared it is the others', and else it is served first. */
  async #leave(
    listener: ConnListener,
    timeout: number,
  ): Promise<ShutdownResult> {
    if (this.#shared === undefined) {
      return await listener.shutdown({ timeout });
    }
    const end = performance.now() + timeout;
    const { socket, balance } = this.#shared;
    balance.end();
    socket.leave();
    this.#report({ report: "left" });
    listener.resume(); // nothing is left to take but what it has
    await within(timeout, closed(listener));
    const rest = Math.max(end - performance.now(), 0);
    return await listener.shutdown({ timeout: rest, drainBacklog: false });
  }
}

/** Resolves when a listener is closed. */
function closed({ signal }: ConnListener): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve());
  });
}
