/**
 * A TCP listener for Deno that keeps running: {@linkcode listen} works like `Deno.listen`,
 * but no client can stop it. It has limits, timeouts, pauses and a graceful shutdown.
 *
 * The loop `for await (const conn of Deno.listen({ port: 9876 }))` throws when a client
 * resets its connection before it is accepted. One port scan can stop such a server. This
 * one goes on, also when a handler throws or the process has no file descriptors left:
 *
 * ```ts ignore
 * import { listen } from "jsr:@evconn/listener@^0.3";
 *
 * listen({ port: 9876 }, (conn) => conn.readable.pipeTo(conn.writable));
 * ```
 *
 * Start it with `deno run --allow-net server.ts`. `deno add jsr:@evconn/listener@^0.3`
 * adds the package to a project; then import it as `"@evconn/listener"`, as the following
 * examples do. It has no dependencies.
 *
 * ## The callback
 *
 * `conn` is Deno's own `Deno.TcpConn`. Return a promise from the callback, as `pipeTo()`
 * and every `async` function do. While the promise is pending, the connection is active:
 * it counts toward the limits, and `shutdown()` waits for it. When the promise settles,
 * the listener closes the connection, and whatever the callback throws, the listener goes
 * on. A server with a limit, a timeout and a graceful shutdown:
 *
 * ```ts
 * import { listen } from "@evconn/listener";
 * import { assertEquals } from "@std/assert";
 *
 * const listener = listen(
 *   { port: 0, maxConnections: 1000, idleTimeout: 60_000 },
 *   (conn) => conn.readable.pipeTo(conn.writable),
 * );
 *
 * using client = await Deno.connect({ port: listener.addr.port });
 * await client.write(new TextEncoder().encode("hello"));
 * await client.closeWrite();
 * assertEquals(await new Response(client.readable).text(), "hello");
 * await listener.shutdown({ timeout: 10_000 });
 * ```
 *
 * Or replace `Deno.listen` by `listen` in a loop that you have. The connections are then
 * yours: you close them and handle their errors.
 *
 * ```ts
 * import { listen } from "@evconn/listener";
 *
 * const listener = listen({ port: 0 });
 * using client = await Deno.connect({ port: listener.addr.port });
 * for await (const conn of listener) {
 *   conn.close();
 *   break; // closes the listener
 * }
 * ```
 *
 * ## What it does
 *
 * | I want to … | Use |
 * | --- | --- |
 * | limit the connections | {@linkcode ListenerOptions.maxConnections maxConnections}, {@linkcode ListenerOptions.overflow overflow} |
 * | limit the connections of each client | {@linkcode ListenerOptions.maxConnectionsPerPeer maxConnectionsPerPeer} |
 * | disconnect idle clients | {@linkcode ListenerOptions.idleTimeout idleTimeout} |
 * | decide which clients may connect | {@linkcode ListenerOptions.admit admit}, {@linkcode ListenerOptions.onReject onReject} |
 * | count something for each client | {@linkcode peerOf peerOf()} |
 * | see addresses behind HAProxy or nginx | {@linkcode ListenerOptions.proxyProtocol proxyProtocol}, {@linkcode proxyHeader proxyHeader()} |
 * | pause, and keep clients waiting | {@linkcode ConnListener.prototype.pause pause()}, {@linkcode ConnListener.prototype.resume resume()}, {@linkcode ConnListener.prototype.hold hold()} |
 * | change what the server does | {@linkcode ConnListener.prototype.setCallback setCallback()} |
 * | shut down gracefully | {@linkcode ConnListener.prototype.shutdown shutdown()}, {@linkcode ConnListener.prototype.signal signal} |
 * | hand the socket over | {@linkcode ConnListener.prototype.detach detach()} |
 * | log errors in my own way | {@linkcode ListenerOptions.onConnectionError onConnectionError}, {@linkcode ListenerOptions.onAcceptError onAcceptError} |
 * | use TLS | {@linkcode listenTls listenTls()} |
 * | listen on a Unix socket | {@linkcode listen listen()} with `transport: "unix"` |
 * | use a `Deno.Listener` that I have | {@linkcode ConnListener new ConnListener()} |
 * | see what is going on | {@linkcode ConnListener.prototype.stats stats}, {@linkcode ConnListener.prototype.holds holds}, {@linkcode ConnListener.prototype.connections connections} |
 * | use every core | `listenParallel()` of `@evconn/listener/parallel` |
 * | run a server from npm | `serveNode()` of `@evconn/listener/node` |
 * | know what a libevent flag does | {@linkcode explainFlags explainFlags()} |
 *
 * Needs Deno 2.5 or later, and `--allow-net`.
 *
 * @module
 */
export { listen, listenTls } from "./listener.ts";
export { ConnListener } from "./listener.ts";
export type {
  ListenerOptions,
  ListenerStats,
  ShutdownOptions,
  ShutdownResult,
} from "./listener.ts";
export type {
  AcceptErrorCallback,
  CallbackData,
  ConnectionCallback,
  ConnectionErrorCallback,
  RejectCallback,
  RejectReason,
} from "./listener.ts";
export { peerOf, type ProxyHeader, proxyHeader } from "./listener.ts";
export {
  explainFlags,
  type FlagReport,
  type FlagSupport,
  LEV_OPT_BIND_IPV4_AND_IPV6,
  LEV_OPT_BIND_IPV6ONLY,
  LEV_OPT_CLOSE_ON_EXEC,
  LEV_OPT_CLOSE_ON_FREE,
  LEV_OPT_DEFERRED_ACCEPT,
  LEV_OPT_DISABLED,
  LEV_OPT_LEAVE_SOCKETS_BLOCKING,
  LEV_OPT_REUSEABLE,
  LEV_OPT_REUSEABLE_PORT,
  LEV_OPT_THREADSAFE,
} from "./flags.ts";
