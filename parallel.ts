/**
 * One TCP service on every core: several workers listen on the same port, and are
 * controlled from one place. {@linkcode listenParallel} starts the workers, and each of
 * them calls {@linkcode serveParallel}.
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
 * Listens on a TCP port with several workers. They accept from one queue of the kernel,
 * and connections are distributed evenly among them.
 *
 * A worker that fails with an uncaught error is replaced. Its own connections are lost,
 * and no others. Since Deno 2.7, a worker in a loop that does not end cannot be stopped:
 * the other workers go on, but the process ends only by `Deno.exit()`.
 *
 * Functions cannot be sent to another thread, so the callback is in a module of its own,
 * which calls {@linkcode serveParallel}. It may be the module of the parent, too: in a
 * worker its `import.meta.main` is false. TLS and Unix sockets cannot be shared.
 *
 * @typeParam D The type of `data`.
 * @param worker The URL of the workers' module: `new URL("./worker.ts", import.meta.url)`.
 * @param options Where to listen, and with how many workers.
 * @returns The service, when all workers listen.
 * @throws {TypeError} If `worker` is not a URL, or an option has a wrong type.
 * @throws {RangeError} If `workers` is not a positive integer, or `tcpBacklog` is 0 or
 * not an integer.
 * @throws {Deno.errors.NotSupported} With TLS, and with a Unix socket.
 * @throws {Deno.errors.AddrInUse} If the port is in use, also by this process.
 * @throws {Error} If a worker throws before it listens: its error. Also if its module ends
 * the worker, does not call `serveParallel()`, or is not evaluated within 30 s. Then no
 * worker is left running.
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
 * Serves connections in a worker that {@linkcode listenParallel} has started. The address
 * and the callback's `data` come from there. Call this function at the top level of the
 * module; it may await something before.
 *
 * @typeParam D The type of `data`.
 * @param callback Called for each connection, like the callback of `listen()`.
 * @param options The listener's options. Limits apply to each worker separately.
 * @throws {TypeError} If an option has a wrong type, if this is not a worker that
 * `listenParallel()` has started, or if `serveParallel()` was called before.
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
