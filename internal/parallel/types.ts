/** The types of the public API of `parallel.ts`. */
import type {
  ListenerStats,
  ShutdownOptions,
  ShutdownResult,
} from "../types.ts";

/**
 * How the workers share a port:
 *
 * - `"shared"`: all workers accept from one queue of the kernel, on every system;
 * - `"reusePort"`: each worker has its own queue (`SO_REUSEPORT`), on Linux with
 *   `--unstable-net`. Clients in the queue of a blocked worker wait for it, and clients in
 *   the queue of a worker that ends can be reset;
 * - `"single"`: there is one worker, because Deno supports neither.
 *
 * In Deno 2 it is `"shared"`. The others are for versions that may not support that.
 *
 * @category Every core
 */
export type ParallelMode = "shared" | "reusePort" | "single";

/**
 * Options of `listenParallel()`.
 *
 * @typeParam D The type of `data`.
 * @category Every core
 */
export interface ParallelOptions<D = unknown> {
  /** The port. With 0, the system chooses one port for all workers. */
  port: number;
  /**
   * The address to listen on.
   *
   * @default {"0.0.0.0"}
   */
  hostname?: string;
  /**
   * How many connections may wait in the kernel's queue, which all workers share.
   *
   * @default {4096}
   */
  tcpBacklog?: number;
  /**
   * How many workers there are. Each is a thread, and takes about 10 MB.
   *
   * @default {navigator.hardwareConcurrency}
   */
  workers?: number;
  /**
   * The third argument of the callback, in every worker. It is copied like by
   * `structuredClone()`, so it cannot contain functions. A `SharedArrayBuffer` is shared.
   */
  data?: D;
  /**
   * When aborted, the service does `shutdown({ timeout: 0 })`. While the workers start,
   * `listenParallel()` rejects with the signal's reason.
   */
  signal?: AbortSignal;
  /**
   * Called with the error that a worker did not catch, and the worker's number, counted
   * from 0. The worker is replaced after 50 ms. The wait doubles with each failure, up to
   * 5 s, and is 50 ms again once a worker has listened for 10 s. Without this option, each
   * failure is one `console.error`.
   */
  onWorkerError?: (error: Error, index: number) => void;
}

/**
 * The counters of all workers together. When a worker is replaced, its counters are kept,
 * except those that say how many connections there are now.
 *
 * @category Every core
 */
export interface ParallelStats extends ListenerStats {
  /** The counters of each worker, including those from before it was replaced. */
  workers: ListenerStats[];
  /** How many times a worker was replaced after a failure. */
  restarts: number;
}

/**
 * The result of `shutdown()` of all workers.
 *
 * @category Every core
 */
export interface ParallelShutdownResult extends ShutdownResult {
  /**
   * The numbers of the workers that did not answer in time, counted from 0: each of them
   * is in a loop that does not end. Since Deno 2.7, nothing can stop such a worker. The
   * port stays open, and the process alive, until the loop ends.
   */
  unanswered: number[];
}

/**
 * A service on every core, returned by {@linkcode listenParallel}. Its methods apply to
 * all workers. They wait at most 1 s for a worker that does not answer.
 *
 * @category Every core
 */
export interface ParallelListener extends AsyncDisposable {
  /** The address that the workers listen on. */
  readonly addr: Deno.NetAddr;
  /** The number of workers. */
  readonly workers: number;
  /** How the workers share the port. */
  readonly mode: ParallelMode;
  /** The state of the service, like the `state` of a `ConnListener`. */
  readonly state: "listening" | "paused" | "draining" | "closed";
  /** Resolves when the service is closed, and all workers have ended. Never rejects. */
  readonly finished: Promise<void>;

  /**
   * Lets the service keep the process alive unless it is paused. This is the default.
   */
  ref(): void;

  /**
   * Lets the process end while the service accepts connections. Active connections keep
   * the process alive. A worker that ends itself while it has no active connection is
   * noticed at the next connection, or after `ref()`.
   */
  unref(): void;

  /**
   * Stops accepting in all workers. Clients wait in the kernel's queue. A paused service
   * keeps the process alive only while it has active connections.
   */
  pause(): Promise<void>;

  /** Accepts connections again after `pause()`. */
  resume(): Promise<void>;

  /**
   * Changes the data that callbacks get with new connections, also in workers that are
   * started later. It is copied, like the option `data`.
   *
   * @throws {DOMException} If the data cannot be copied (`DataCloneError`).
   */
  setData(data: unknown): Promise<void>;

  /**
   * Returns the counters of all workers, together and for each worker. If a worker does
   * not answer within 1 s, its last known counters are used.
   */
  stats(): Promise<ParallelStats>;

  /**
   * Replaces all workers, for new code or fresh memory. One after the other, a new worker
   * begins to listen, and the old one stops accepting. The old workers then serve their
   * connections until they end, all at the same time. No client is refused, reset or left
   * without an answer.
   *
   * A second call waits until all workers of the first call listen.
   *
   * @param options `timeout`: how long the old workers may serve their connections, in ms.
   * Without it, there is no limit.
   * @returns A promise that resolves when the old workers have ended. It does not wait for
   * a worker that does not answer within 1 s.
   * @throws {Error} If a new worker throws before it listens, or does not call
   * `serveParallel()`. Workers that were not replaced yet go on.
   */
  restart(options?: { timeout?: number }): Promise<void>;

  /**
   * Delivers the connections that wait in the kernel's queue, closes the socket, waits
   * for the active connections, and ends the workers. A second call returns the result of
   * the first, and can shorten its timeout. During a restart, the old workers end as well.
   *
   * @param options `timeout`: how long to wait for active connections, in ms. Without it,
   * there is no limit.
   * @returns How many connections completed, how many were closed at the timeout, and which
   * workers did not answer within `timeout` and 1 s more.
   */
  shutdown(
    options?: Pick<ShutdownOptions, "timeout">,
  ): Promise<ParallelShutdownResult>;

  /**
   * Closes the socket. Active connections go on, and each worker ends when it has none
   * left.
   *
   * @returns A promise that resolves when the address can be used again, or when a worker
   * has not answered for 1 s.
   */
  close(): Promise<void>;

  /** Calls `shutdown()`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}
