import type { ConnListener } from "../../listener.ts";
import { nextTurn } from "../util/event_loop.ts";
import { isPromise } from "../util/hooks.ts";
import { Stage } from "../accept/stage.ts";
import type { ConnectionCallback } from "../types.ts";
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
 * The stage that keeps the workers even. The kernel gives a connection to whoever asks
 * first, and that is the same one again and again. So whoever has more than the others
 * stands back for a while, and looks time and again whether they take what comes.
 */
export class Balance extends Stage<Deno.TcpConn, Deno.NetAddr> {
  readonly #socket: SharedSocket;
  readonly #load: Load;
  #wake: (() => void) | undefined; // set while it stands back
  /** Who is held while it stands back. */
  listener: ConnListener | undefined;

  constructor(socket: SharedSocket, load: Load) {
    super(socket);
    this.#socket = socket;
    this.#load = load;
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

  override accept(): Promise<Deno.TcpConn> {
    this.#load.ask();
    return this.#load.isAhead ? this.#standBack() : super.accept();
  }

  async #standBack(): Promise<Deno.TcpConn> {
    await nextTurn(() => this.#load.isAhead); // those that have just been served go
    for (let wait = MIN_WAIT; this.#load.isAhead; wait *= 2) {
      await this.#hold(Math.min(wait, MAX_WAIT));
      if (!this.#load.isAhead) break;
      const conn = await this.#socket.acceptNow();
      if (conn === undefined) continue;
      this.#load.miss();
      return conn;
    }
    return await super.accept();
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

  /** Accepts nobody until it is told to take anybody. */
  async stop(): Promise<void> {
    await this.#socket.stop();
    await nextTurn(() => true); // who was on the way is delivered
  }

  /** Leaves nobody to the others any more, as nobody will be left. */
  async takeAll(): Promise<void> {
    this.#end();
    await nextTurn(() => true); // it has stepped forward
  }

  /** Leaves the queue to the others. Resolves when what it has taken is given. */
  async leave(): Promise<void> {
    this.#end();
    await this.#socket.leave();
  }

  override close(): void {
    this.#end();
    super.close();
  }

  #end(): void {
    this.#load.part();
    this.#wake?.();
  }
}
