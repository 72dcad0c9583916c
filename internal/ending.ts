import type { Acceptor } from "./accept/acceptor.ts";
import { detachedSocket } from "./accept/detached_socket.ts";
import { dispose } from "./conn/close.ts";
import type { ConnState } from "./conn/conn_state.ts";
import { Deadline } from "./util/deadline.ts";
import { drain } from "./drain.ts";
import type { Service } from "./service.ts";
import type { Socket } from "./accept/socket.ts";
import type { ShutdownResult } from "./types.ts";

/** The parts of a listener. */
export interface Parts {
  socket: Socket;
  acceptor: Acceptor;
  service: Service;
}

/** The end of a listener, by `close()`, `detach()` or `shutdown()`. */
export class Ending {
  readonly #parts: Parts;
  readonly #begun = new AbortController();
  readonly #cutOff = new Deadline();
  readonly #finished = Promise.withResolvers<void>();
  #released: Promise<void> | undefined;
  #shutdown: Promise<ShutdownResult> | undefined;
  #isDraining = false;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** Aborted when closing or draining begins. */
  get signal(): AbortSignal {
    return this.#begun.signal;
  }

  /** Resolves when the socket is closed or detached, and no connection is active. */
  get finished(): Promise<void> {
    return this.#finished.promise;
  }

  /** Resolves when the socket is detached, or its address free; undefined before the end. */
  get released(): Promise<void> | undefined {
    return this.#released;
  }

  get isDraining(): boolean {
    return this.#isDraining;
  }

  /** Shuts down at once when a signal is aborted. */
  follow(signal: AbortSignal): void {
    const abort = () => void this.shutDown(0, false);
    if (signal.aborted) return abort();
    signal.addEventListener("abort", abort);
    this.finished.then(() => signal.removeEventListener("abort", abort));
  }

  close(): Promise<void> {
    this.#end((undelivered) => {
      for (const { conn } of undelivered) dispose(conn);
      this.#parts.service.onDropped(undelivered.length);
      this.#begun.abort();
      // Last: what runs after it, in this turn, costs clients that connect.
      return this.#parts.socket.release();
    });
    return this.#released!;
  }

  /** Detaches the socket, with undelivered connections; undefined if the listener has ended. */
  detach(): Deno.Listener | undefined {
    const { socket, acceptor, service } = this.#parts;
    let detached: Deno.Listener | undefined;
    this.#end((undelivered) => {
      const conns = undelivered.map(({ conn }) => conn);
      if (socket.isReleased) service.onDropped(conns.length); // by a drain
      socket.disown(conns, acceptor.isRefed, acceptor.isChecking);
      detached = detachedSocket(socket);
    });
    return detached;
  }

  #end(release: (undelivered: ConnState[]) => void | Promise<void>): void {
    if (this.#released !== undefined) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#released = promise; // before hooks can look at it
    const { acceptor, service } = this.#parts;
    const waiters = service.end();
    const undelivered = acceptor.stop();
    for (const state of undelivered) state.leavePeer();
    promise.then(() => {
      for (const waiter of waiters) waiter(undefined);
      return service.idle();
    }).then(() => {
      this.#cutOff.clear();
      this.#finished.resolve();
    });
    resolve(release(undelivered));
  }

  /**
   * Drains, closes, and waits. A second call returns the result of the first, and can
   * shorten its timeout.
   */
  shutDown(timeout: number, drainBacklog: boolean): Promise<ShutdownResult> {
    this.#cutOff.limit(timeout);
    if (this.#shutdown === undefined) {
      const { promise, resolve } = Promise.withResolvers<ShutdownResult>();
      this.#shutdown = promise; // before hooks can call it again
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
