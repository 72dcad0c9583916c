import type { ConnListener } from "../../listener.ts";
import { nextTurn } from "../util/event_loop.ts";
import { isPromise } from "../util/hooks.ts";
import type { ConnectionCallback } from "../options.ts";
import type { Load } from "./load.ts";
import type { SharedSocket } from "./shared_socket.ts";

/** Its data is what the parent has given. */
// deno-lint-ignore no-explicit-any
export type Callback = ConnectionCallback<Deno.TcpConn, any>;

/** The first time that a worker stands back, in ms, */
const MIN_WAIT = 1;
/** and the longest: how late it may be noticed that the others take nobody. */
const MAX_WAIT = 50;

/**
 * Keeps the workers even. The kernel gives a connection to the worker that asks first,
 * and that is the same one again and again. So a worker that has more than the others
 * does not accept for a while, and looks time and again whether they take what comes.
 */
export class Balance {
  readonly #socket: SharedSocket;
  readonly #load: Load;
  #isYielding = false;
  #wake: (() => void) | undefined; // while it waits
  /** What is held while it yields. */
  listener: ConnListener | undefined;

  constructor(socket: SharedSocket, load: Load) {
    this.#socket = socket;
    this.#load = load;
    socket.mayAccept = () => this.#mayAccept();
    load.join();
  }

  /** A callback whose connections are counted, for the others to see. */
  count(callback: Callback): Callback {
    const left = () => this.#load.leave();
    return (conn, listener, data) => {
      const handled = callback(conn, listener, data);
      if (!isPromise(handled)) return handled; // nobody counts it
      this.#load.enter();
      const served = Promise.resolve(handled);
      served.then(left, left);
      return served;
    };
  }

  #mayAccept(): boolean {
    if (this.#isYielding) return false;
    this.#load.ask();
    if (!this.#load.isAhead) return true;
    this.#yield();
    return false;
  }

  async #yield(): Promise<void> {
    this.#isYielding = true;
    await nextTurn(() => this.#load.isAhead); // those that have just been served go
    for (let wait = MIN_WAIT; this.#load.isAhead; wait *= 2) {
      await this.#hold(Math.min(wait, MAX_WAIT));
      if (!this.#load.isAhead) break;
      if (!await this.#socket.acceptNow()) continue;
      this.#load.miss();
      break;
    }
    this.#isYielding = false;
    this.#socket.retry();
  }

  async #hold(ms: number): Promise<void> {
    // A moment is not worth a hold.
    using _hold = ms > MIN_WAIT ? this.listener?.hold("balance") : undefined;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, ms);
    this.#wake = resolve;
    this.#load.isAway = true;
    await promise;
    this.#load.isAway = false;
    clearTimeout(timer);
  }

  /** Yields no more: all workers are ending. */
  async takeAll(): Promise<void> {
    this.end();
    await nextTurn(() => true); // its accept is pending again
  }

  /** Does not count among the workers any more. */
  end(): void {
    this.#load.part();
    this.#wake?.();
  }
}
