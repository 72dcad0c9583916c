/**
 * libevent's connection listener (`evconnlistener`) for Deno: `Deno.listen` that
 * can be paused, drained and given another callback, and that no client can bring
 * down.
 *
 * Write {@linkcode listen} for `Deno.listen`. A port scan, a client that resets before
 * it is accepted, or a process out of file descriptors no longer end the loop:
 *
 * ```ts
 * import { listen } from "@evconn/listener";
 *
 * const listener = listen({ port: 0 });
 * using client = await Deno.connect({ port: listener.addr.port });
 * for await (const conn of listener) {
 *   conn.close();
 *   break;
 * }
 * ```
 *
 * Or give it a callback. The listener closes the connection when the promise that the
 * callback returns settles, and whatever it throws, the listener goes on:
 *
 * ```ts
 * import { listen } from "@evconn/listener";
 * import { assertEquals } from "@std/assert";
 *
 * await using listener = listen(
 *   { port: 0 },
 *   (conn) => conn.write(new TextEncoder().encode("hello")),
 * );
 *
 * using client = await Deno.connect({ port: listener.addr.port });
 * assertEquals(await new Response(client.readable).text(), "hello");
 * ```
 *
 * @module
 */
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
export {
  type AcceptErrorCallback,
  type ConnectionCallback,
  type ConnectionErrorCallback,
  ConnListener,
  listen,
  type ListenerOptions,
  type ListenerStats,
  listenTls,
  type ProxyHeader,
  proxyHeader,
  type RejectCallback,
  type RejectReason,
  type ShutdownOptions,
  type ShutdownResult,
} from "./listener.ts";
