import type { Acceptor } from "./accept/acceptor.ts";
import { dispose } from "./conn/close.ts";
import { Deadline } from "./util/deadline.ts";
import { drain } from "./drain.ts";
import type { Service } from "./service.ts";
import type { Socket } from "./accept/socket.ts";
import type { Stage } from "./accept/stage.ts";
import type { ShutdownResult } from "./types.ts";

/** What a listener is made of. */
export interface Parts<C extends Deno.Conn, A extends Deno.Addr> {
  socket: Socket<C, A>;
  stage: Stage<C, A>; // the outermost
  acceptor: Acceptor<C, A>;
  service: Service<C, A>;
}

/** The end of a listener: released, and then nobody active. */
export class Ending<C extends Deno.Conn, A extends Deno.Addr> {
  readonly #parts: Parts<C, A>;
  readonly #begun = new AbortController();
  readonly #cutOff = new Deadline();
  readonly #finished = Promise.withResolvers<void>();
  #released: Promise<void> | undefined;
  #shutdown: Promise<ShutdownResult> | undefined;
  #isDraining = false;

  constructor(parts: Parts<C, A>) {
    this.#parts = parts;
  }

  /** Aborted when closing or draining begins. */
  get signal(): AbortSignal {
    return this.#begun.signal;
  }

  /** Resolves at the end of all. */
  get finished(): Promise<void> {
    return this.#finished.promise;
  }

  /** Resolves when the socket is given back, or its address free; undefined before. */
  get released(): Promise<void> | undefined {
    return this.#released;
  }

  get isDraining(): boolean {
    return this.#isDraining;
  }

  /** Shuts down at once when a signal says so. */
  follow(signal: AbortSignal): void {
    const abort = () => void this.shutDown(0, false);
    if (signal.aborted) return abort();
    signal.addEventListener("abort", abort);
    this.finished.then(() => signal.removeEventListener("abort", abort));
  }

  close(): Promise<void> {
    this.#end((inHand) => {
      for (const item of inHand) {
        if (item instanceof Promise) item.then(dispose, () => {});
        else dispose(item);
      }
      this.#begun.abort();
      // Last: what runs after it, in this turn, costs clients that connect.
      return this.#parts.socket.release();
    });
    return this.#released!;
  }

  /** Gives the socket back, with what is in hand; undefined if it has ended already. */
  detach(): Deno.Listener<C, A> | undefined {
    const { socket, acceptor } = this.#parts;
    let handed: Deno.Listener<C, A> | undefined;
    this.#end((inHand) => {
      handed = socket.handOver(inHand, acceptor.refed);
    });
    return handed;
  }

  #end(release: (inHand: (C | Promise<C>)[]) => void | Promise<void>): void {
    if (this.#released !== undefined) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#released = promise; // before anybody is told
    const { service } = this.#parts;
    const { inHand, waiters } = service.end();
    promise.then(() => {
      for (const waiter of waiters) waiter(undefined);
      return service.idle();
    }).then(() => {
      this.#cutOff.clear();
      this.#finished.resolve();
    });
    resolve(release(inHand));
  }

  /** Drains, closes, and waits. A second call joins the first, and may hurry it. */
  shutDown(timeout: number, drainBacklog: boolean): Promise<ShutdownResult> {
    this.#cutOff.within(timeout);
    if (this.#shutdown === undefined) {
      const { promise, resolve } = Promise.withResolvers<ShutdownResult>();
      this.#shutdown = promise; // before anybody is told
      resolve(this.#shutDown(drainBacklog));
    }
    return this.#shutdown;
  }

  async #shutDown(drainBacklog: boolean): Promise<ShutdownResult> {
    const { active } = this.#parts.service;
    const { completed } = active;
    this.#isDraining = this.#released === undefined;
    this.#begun.abort();
    const drained = drainBacklog && !this.#cutOff.isOver && drain(this.#parts);
    if (drained) await Promise.race([drained, this.#cutOff.over]);
    const closed = this.close();
    if (!this.#cutOff.isOver) {
      await Promise.race([this.finished, this.#cutOff.over]);
    }
    active.cutOff();
    this.#isDraining = false;
    await Promise.all([closed, drained]);
    return { completed: active.completed - completed, aborted: active.aborted };
  }
}
