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
  /** When aborted, the service does `shutdown({ timeout: 0 })`. */
  signal?: AbortSignal;
  /**
   * Told what a worker has thrown, and which worker it was, counted from 0. It is
   * replaced after 50 ms, doubled up to 5 s until one has lived for 10 s. Without this
   * option, each failure is one `console.error`.
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
   * that does not end. The port stays open, and the process alive, until it does.
   */
  unanswered: number[];
}

/**
 * A service on every core: what {@linkcode listenParallel} gives. Its verbs reach all
 * workers. They wait 1 s at most for one that does not answer.
 *
 * @category Every core
 */
export interface ParallelListener extends AsyncDisposable {
  /** The address that is listened on. */
  readonly addr: Deno.NetAddr;
  /** How many workers there are. */
  readonly workers: number;
  /** How the workers share the port. */
  readonly mode: ParallelMode;
  /** Where the service is in its life, as the `state` of one listener. */
  readonly state: "listening" | "paused" | "draining" | "closed";
  /** Resolves when the service is closed and no worker is left. Never rejects. */
  readonly finished: Promise<void>;

  /** Lets the service keep the process alive while it accepts, as it does by default. */
  ref(): void;

  /**
   * Lets the process end although the service accepts. Active connections keep it alive,
   * as they do when the service is paused.
   */
  unref(): void;

  /** Stops accepting in all workers. Clients wait in the kernel's queue. */
  pause(): Promise<void>;

  /** Goes on accepting after `pause()`. */
  resume(): Promise<void>;

  /**
   * Gives the callbacks other data, for connections that come from now on, also in
   * workers that are started later. It is copied, as the option `data` is.
   *
   * @throws {DOMException} If the data cannot be copied (`DataCloneError`).
   */
  setData(data: unknown): Promise<void>;

  /** Counts of all workers, together and one by one. */
  stats(): Promise<ParallelStats>;

  /**
   * Replaces one worker after the other, for new code or fresh memory: a new one
   * listens, then the old one takes nobody any more, serves its connections to their
   * end, and goes. Nobody is refused or reset, and none goes unanswered.
   *
   * @param options After how many ms the connections of an old worker are closed. Without
   * `timeout`, it waits for as long as they stay.
   * @throws {Error} What a new worker has thrown before it listened. The old one, and
   * those after it, go on.
   */
  restart(options?: { timeout?: number }): Promise<void>;

  /**
   * Delivers the connections that wait in the kernel's queue, closes the socket, waits
   * for the active connections, and ends the workers. A second call joins the first,
   * and may shorten the wait.
   *
   * @param options How long to wait, in ms, as for one listener: without `timeout`, for as
   * long as they stay.
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
