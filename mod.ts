/**
 * A TCP listener that keeps running: `Deno.listen` that no client can end or stop, and
 * that can be paused, limited, drained and given another callback.
 *
 * Give {@linkcode listen} a callback. The listener closes the connection when the
 * promise that the callback returns settles. Whatever the callback throws, the listener
 * goes on:
 *
 * ```ts
 * import { listen } from "@evconn/listener";
 * import { assertEquals } from "@std/assert";
 *
 * await using listener = listen(
 *   { port: 0 },
 *   (conn) => conn.readable.pipeTo(conn.writable),
 * );
 *
 * using client = await Deno.connect({ port: listener.addr.port });
 * await client.write(new TextEncoder().encode("hello"));
 * await client.closeWrite();
 * assertEquals(await new Response(client.readable).text(), "hello");
 * ```
 *
 * Or write `listen` for `Deno.listen`. A port scan, a client that resets before it is
 * accepted, or a process without file descriptors do not end the loop:
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
 * One service on several cores is in `@evconn/listener/parallel`. If you know libevent:
 * this is its connection listener (`evconnlistener`), with its verbs and its flags.
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
