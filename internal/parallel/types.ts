/** The types of the public API of `parallel.ts`. */
import type {
  ListenerStats,
  ShutdownOptions,
  ShutdownResult,
} from "../types.ts";

/**
 * How the workers share a port:
 *
 * - `"shared"`: they accept from one queue of the kernel, on every system;
 * - `"reusePort"`: each has a queue of its own (`SO_REUSEPORT`), on Linux with
 *   `--unstable-net`. Clients that wait for a worker that is blocked go on waiting,
 *   and those in the queue of one that ends can be reset;
 * - `"single"`: there is one worker, because Deno can do neither.
 *
 * Deno 2 has `"shared"`. The others are for what may come.
 *
 * @category Every core
 */
export type ParallelMode = "shared" | "reusePort" | "single";

/**
 * Where to listen, and with how many workers.
 *
 * @typeParam D The type of `data`.
 * @category Every core
 */
export interface ParallelOptions<D = unknown> {
  /**
   * The port. With 0 the system picks one, which is the same for all workers.
   */
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
   * The third argument of the callback, in every worker. It is copied as
   * `structuredClone()` does, so there can be no functions in it; a
   * `SharedArrayBuffer` is shared.
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
 * The counts of all workers together. None goes down when a worker is replaced,
 * except those of connections that are there now.
 *
 * @category Every core
 */
export interface ParallelStats extends ListenerStats {
  /** The counts of each worker, with those of the threads that it had before. */
  workers: ListenerStats[];
  /** How often a worker was replaced because it had failed. */
  restarts: number;
}

/**
 * How a shutdown of all workers went.
 *
 * @category Every core
 */
export interface ParallelShutdownResult extends ShutdownResult {
  /**
   * The workers that did not answer in time, counted from 0: each of them is in a loop
   * that does not end. Since Deno 2.7 nothing can stop it: the port stays open, and the
   * process alive, until the loop ends.
   */
  unanswered: number[];
}

/**
 * A service on every core: what {@linkcode listenParallel} gives. Its commands reach all
 * workers. They wait 1 s at most for a worker that does not answer.
 *
 * @category Every core
 */
export interface ParallelListener extends AsyncDisposable {
  /** The address that is listened on. */
  readonly addr: Deno.NetAddr;
  /** The number of workers. */
  readonly workers: number;
  /** How the workers share the port. */
  readonly mode: ParallelMode;
  /** The state of the service, as the `state` of a listener. */
  readonly state: "listening" | "paused" | "draining" | "closed";
  /** Resolves when the service is closed and no worker is left. Never rejects. */
  readonly finished: Promise<void>;

  /**
   * Makes the service keep the process alive, as it does by default, unless it is paused.
   */
  ref(): void;

  /**
   * Lets the process end although the service accepts connections. Those whose callback's
   * promise is pending keep it alive. A worker that ends itself while it has none is
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
   * started later. It is copied, as the option `data` is.
   *
   * @throws {DOMException} If the data cannot be copied (`DataCloneError`).
   */
  setData(data: unknown): Promise<void>;

  /**
   * Gives the counts of all workers, together and one by one. The last known counts of a
   * worker stand in for those of one that does not answer within 1 s.
   */
  stats(): Promise<ParallelStats>;

  /**
   * Replaces all workers, for new code or fresh memory. One after the other, a new one
   * listens, and the old one accepts no more. The old ones serve their connections to the
   * end, side by side. No client is refused, reset or left without an answer.
   *
   * A second call begins when all workers of the first one listen.
   *
   * @param options After how many ms the connections of the old workers are closed. Without
   * `timeout`, they may stay as long as they like.
   * @returns A promise that resolves when the old workers have ended. A worker that does
   * not answer within 1 s is not waited for.
   * @throws {Error} What a new worker has thrown before it listened, or that it does not
   * call `serveParallel()`. The workers that are not replaced yet go on.
   */
  restart(options?: { timeout?: number }): Promise<void>;

  /**
   * Delivers the connections that wait in the kernel's queue, closes the socket, waits
   * for the active connections, and ends the workers. A second call joins the first,
   * and may shorten the wait. During a restart, the old workers end as well.
   *
   * @param options How long to wait, in ms, as for one listener. Without `timeout`, for as
   * long as the connections stay.
   * @returns How many connections completed, how many were cut off, and which workers
   * did not answer within `timeout` and 1 s more.
   */
  shutdown(
    options?: Pick<ShutdownOptions, "timeout">,
  ): Promise<ParallelShutdownResult>;

  /**
   * Closes the socket. Connections that are being served are left alone; the workers
   * end with them.
   *
   * @returns A promise that resolves when the address can be listened on again, unless
   * a worker does not answer.
   */
  close(): Promise<void>;

  /** `shutdown()`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}
