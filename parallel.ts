/**
 * One TCP service on every core: a port that several workers serve together, steered
 * from one place. {@linkcode listenParallel} starts the workers, and each of them calls
 * {@linkcode serveParallel}.
 *
 * ```ts ignore
 * // main.ts
 * import { listenParallel } from "@evconn/listener/parallel";
 *
 * await listenParallel(new URL("./worker.ts", import.meta.url), { port: 9876 });
 * ```
 *
 * ```ts ignore
 * // worker.ts
 * import { serveParallel } from "@evconn/listener/parallel";
 *
 * serveParallel((conn) => conn.readable.pipeTo(conn.writable));
 * ```
 *
 * Needs `--allow-net`, and `--allow-read` for the module of the workers.
 *
 * @module
 */
import { ParallelSettings } from "./internal/parallel/options.ts";
import { serve } from "./internal/parallel/serve.ts";
import { ParallelService } from "./internal/parallel/service.ts";
import type {
  ParallelListener,
  ParallelOptions,
} from "./internal/parallel/types.ts";
import { checkCallback } from "./internal/check.ts";
import { readOnce, Settings } from "./internal/settings.ts";
import type {
  ConnectionCallback,
  ListenerOptions,
} from "./internal/options.ts";
import { ConnListener } from "./listener.ts";

export type {
  ParallelListener,
  ParallelMode,
  ParallelOptions,
  ParallelShutdownResult,
  ParallelStats,
} from "./internal/parallel/types.ts";

/**
 * Listens on a TCP port with several workers. They share one queue of the kernel, and
 * connections are spread evenly among them.
 *
 * A worker with an error that it does not catch is replaced. Its own connections are
 * lost, and no others. A worker in a loop that does not end cannot be stopped since Deno
 * 2.7: the other workers go on, but the process ends only by `Deno.exit()`.
 *
 * Functions cannot be sent to another thread, so the callback is in a module of its own,
 * which calls {@linkcode serveParallel}. It may be the module of the parent, too: in a
 * worker its `import.meta.main` is false. TLS and Unix sockets cannot be shared.
 *
 * @typeParam D The type of `data`.
 * @param worker The URL of the workers' module: `new URL("./worker.ts", import.meta.url)`.
 * @param options Where to listen, and with how many workers.
 * @returns The service. All workers listen.
 * @throws {TypeError} If `worker` is not a URL, or an option is of a wrong type.
 * @throws {RangeError} If `workers` is not a positive integer, or `tcpBacklog` is 0 or
 * no integer.
 * @throws {Deno.errors.NotSupported} With TLS, and with a Unix socket.
 * @throws {Deno.errors.AddrInUse} If the port is taken, also by this process.
 * @throws {Error} What a worker has thrown before it listened; also if its module ends
 * it, does not call `serveParallel()`, or is not evaluated after 30 s. No worker is left
 * then.
 * @category Every core
 */
export async function listenParallel<D = undefined>(
  worker: string | URL,
  options: ParallelOptions<D>,
): Promise<ParallelListener> {
  const service = new ParallelService(new ParallelSettings(worker, options));
  await service.start();
  return service;
}

/**
 * Serves connections in a worker that {@linkcode listenParallel} has started. Where to
 * listen, and the callback's `data`, come from there. It must be called while the module
 * is evaluated: at its top level, which may await something before.
 *
 * @typeParam D The type of `data`.
 * @param callback Called for each connection, as the callback of `listen()`.
 * @param options The listener's options. A limit is this worker's own.
 * @throws {TypeError} If an option is of a wrong type, this is not a worker that
 * `listenParallel()` has started, or it serves already.
 * @throws {RangeError} If a number is out of range.
 * @category Every core
 */
export function serveParallel<D = undefined>(
  callback: ConnectionCallback<Deno.TcpConn, D>,
  options: ListenerOptions = {},
): void {
  const settings = new Settings(readOnce(options));
  if (callback == null) throw new TypeError("Cannot serve without a callback");
  checkCallback("callback", callback, "serve");
  serve({
    listen: ({ listener }) =>
      new ConnListener(listener as Deno.TcpListener, settings),
    callback,
    rejects: settings.overflow === "reject",
  });
}
