/** What a program gives to a listener: callbacks and options. */
import type { ConnListener } from "../listener.ts";
import type { RejectReason } from "./types.ts";

/**
 * Called once for each connection, in the order in which they were accepted;
 * with `LEV_OPT_DEFERRED_ACCEPT`, in the order of their first bytes. It may
 * pause, close or detach the listener, or set another callback
 * (`evconnlistener_cb`).
 *
 * If it returns a promise, the connection is active until the promise settles:
 * it counts toward `maxConnections`, `shutdown()` waits for it, and the listener
 * closes it then. If it returns anything else, the connection is yours: you
 * close it, and nothing counts it.
 *
 * @typeParam C The connection's type, which follows the transport.
 * @typeParam D The type of the data given along with the callback.
 * @category Hooks
 *
 * @example A callback with data
 * ```ts
 * import { type ConnectionCallback, listen } from "@evconn/listener";
 * import { assertEquals } from "@std/assert";
 *
 * const greet: ConnectionCallback<Deno.TcpConn, string> = (conn, _, name) =>
 *   conn.write(new TextEncoder().encode(`hello ${name}`));
 *
 * await using listener = listen({ port: 0 }, greet, "world");
 *
 * using client = await Deno.connect({ port: listener.addr.port });
 * assertEquals(await new Response(client.readable).text(), "hello world");
 * ```
 */
export type ConnectionCallback<
  C extends Deno.Conn = Deno.TcpConn,
  D = undefined,
> = (conn: C, listener: ConnListener<C>, data: D) => unknown;

/**
 * The argument `data` of a callback: it may be left out where the callback expects
 * `undefined`, which is what a callback without a third parameter does. Leaving out data
 * that the callback expects is a type error.
 *
 * @typeParam D The type of the data.
 * @category Hooks
 */
export type CallbackData<D> = undefined extends D ? [data?: D] : [data: D];

/**
 * Told that accepting failed for a reason of the listener's own, such as too
 * many open files (`error.code === "EMFILE"`). The listener waits for 5 ms, doubled up
 * to 1 s, and tries again, unless the hook closes or pauses it. Clients that go away before they
 * are accepted are never reported (`evconnlistener_errorcb`).
 *
 * @typeParam C The connection's type, which follows the transport.
 * @typeParam D The type of the data given along with the connection callback.
 * @category Hooks
 *
 * @example Pausing while there are no file descriptors
 * ```ts
 * import { type AcceptErrorCallback, listen } from "@evconn/listener";
 *
 * const rest: AcceptErrorCallback = (error, listener) => {
 *   console.error("Cannot accept, pausing for a second:", error.message);
 *   listener.pause();
 *   setTimeout(() => listener.resume(), 1000);
 * };
 * await using listener = listen({ port: 0, onAcceptError: rest });
 * ```
 */
export type AcceptErrorCallback<
  C extends Deno.Conn = Deno.TcpConn,
  D = unknown,
> = (error: Error, listener: ConnListener<C>, data: D) => void;

/**
 * Told what a connection callback threw, or what its promise rejected with. The
 * connection is closed by then.
 *
 * Three kinds of failures are no errors, and are not told: the client went away,
 * this side closed the connection while an operation on it was pending, and a
 * TLS handshake that failed.
 *
 * @typeParam C The connection's type, which follows the transport.
 * @category Hooks
 *
 * @example Logging with the client's address
 * ```ts
 * import { type ConnectionErrorCallback, listen } from "@evconn/listener";
 *
 * const log: ConnectionErrorCallback = (error, conn) => {
 *   console.error(`${conn.remoteAddr.hostname}:`, error);
 * };
 * await using listener = listen({ port: 0, onConnectionError: log });
 * ```
 */
export type ConnectionErrorCallback<C extends Deno.Conn = Deno.TcpConn> = (
  error: unknown,
  conn: C,
  listener: ConnListener<C>,
) => void;

/**
 * Called for each connection that is turned away, before it is closed. If it returns a
 * promise, there is time for one last line: when the promise settles, the connection is
 * ended, and closed when the client has ended it, too. What the client still sends is
 * dropped. All of that takes 1 s at most. Only 64 connections at a time get it; others
 * are closed at once. Whatever it throws changes nothing.
 *
 * @typeParam C The connection's type, which follows the transport.
 * @category Hooks
 *
 * @example A last line
 * ```ts
 * import { listen, type RejectCallback } from "@evconn/listener";
 * import { assertEquals } from "@std/assert";
 *
 * const sorry: RejectCallback = (conn, reason) =>
 *   conn.write(new TextEncoder().encode(`421 ${reason}\r\n`));
 * await using listener = listen({ port: 0, admit: () => false, onReject: sorry });
 * const accepted = listener.accept().catch(() => {});
 *
 * using client = await Deno.connect({ port: listener.addr.port });
 * assertEquals(await new Response(client.readable).text(), "421 not-admitted\r\n");
 * await listener.close();
 * await accepted;
 * ```
 */
export type RejectCallback<C extends Deno.Conn = Deno.TcpConn> = (
  conn: C,
  reason: RejectReason,
  listener: ConnListener<C>,
) => unknown;

/**
 * Options of a listener, beside those of `Deno.listen`. Each is read once, when
 * the listener is made; `null` is the same as leaving it out. The two limits can be
 * changed later, on the listener.
 *
 * @typeParam C The connection's type, which follows the transport.
 * @category Listening
 */
export interface ListenerOptions<C extends Deno.Conn = Deno.TcpConn> {
  /**
   * `LEV_OPT_*` flags, combined with `|`.
   *
   * @default {0}
   */
  flags?: number | null | undefined;
  /**
   * The most connections at a time: those whose callback's promise is pending,
   * and those that are not ready to be delivered. Not counted, and so not limited,
   * are connections whose callback returns no promise and those that `accept()`
   * or a loop takes.
   *
   * With TLS, Deno cannot close a connection in the middle of its handshake:
   * it frees the connection's place, but keeps its file descriptor until the
   * client leaves.
   *
   * @default {Infinity}
   */
  maxConnections?: number | null | undefined;
  /**
   * What happens to clients at the limit: `"queue"` leaves them in the kernel's
   * queue until there is room, `"reject"` accepts and closes them at once. With
   * TLS, `"reject"` frees a file descriptor only when the client leaves, as Deno
   * cannot close a connection in the middle of its handshake.
   *
   * @default {"queue"}
   */
  overflow?: "queue" | "reject" | null | undefined;
  /**
   * The most connections of one client address at a time, counted as in
   * `maxConnections`. An IPv4 address on an IPv6 socket counts as IPv4, and an IPv6
   * address by its /64, which is one network. What is over it is turned away as soon as
   * it is accepted, whatever `overflow` says: it must not stand in others' way. Not for
   * Unix sockets.
   *
   * @default {Infinity}
   */
  maxConnectionsPerPeer?: number | null | undefined;
  /**
   * Asked about each client's address, behind a proxy about that of the PROXY header.
   * Only with `true` the connection is delivered; otherwise it is turned away. What it
   * throws is told to `onConnectionError`. Must answer at once.
   */
  admit?:
    | ((addr: C["remoteAddr"], listener: ConnListener<C>) => boolean)
    | null
    | undefined;
  /** Told of each connection that is turned away, before it is closed. */
  onReject?: RejectCallback<C> | null | undefined;
  /**
   * Whether clients come through a proxy that tells their addresses, such as
   * HAProxy with `send-proxy` or nginx with `proxy_protocol on`: the PROXY protocol,
   * version 1 and 2. `remoteAddr` and `localAddr` are then what the proxy says;
   * {@linkcode proxyHeader} has the rest. TCP only.
   *
   * With `true`, every connection must begin with a PROXY header. A function says
   * which proxies may connect, by their address; all others are turned away. There is
   * no mode in which the header may be missing: then any client could send one.
   *
   * @default {false}
   */
  proxyProtocol?:
    | boolean
    | ((proxy: Deno.NetAddr) => boolean)
    | null
    | undefined;
  /**
   * How long a client may take until it is ready to be delivered, in ms: until its
   * PROXY header is complete, or, with `LEV_OPT_DEFERRED_ACCEPT`, its first byte is
   * there. It is closed then, and its place is free. With TLS, giving this option
   * means that connections are delivered after their handshake; without it, a handshake
   * may take as long as it likes.
   *
   * @default {30_000}
   */
  handshakeTimeout?: number | null | undefined;
  /**
   * How long a read or a write may wait for the client, in ms. Then the connection is
   * closed, and the operation rejects with `Deno.errors.TimedOut`. Each byte that
   * comes begins the time anew, and so does room for more to send, which the kernel
   * reports in large steps only. A callback that neither reads nor writes is not
   * idle, however long it takes. Coarse: a quarter of the time later at the most, or
   * 1 s, whichever is less.
   *
   * That holds for connections that are yours, too. If nobody catches what their reads
   * and writes reject with, a client that says nothing ends the process.
   *
   * @default {Infinity}
   */
  idleTimeout?: number | null | undefined;
  /**
   * Whether to send small writes at once (`TCP_NODELAY`). TCP only.
   *
   * @default {false}
   */
  noDelay?: boolean | null | undefined;
  /**
   * Whether the system looks for clients that have vanished (`SO_KEEPALIVE`). TCP
   * only.
   *
   * @default {false}
   */
  keepAlive?: boolean | null | undefined;
  /** When aborted, the listener does `shutdown({ timeout: 0 })`. */
  signal?: AbortSignal | null | undefined;
  /**
   * Told of failures to accept, as if set by `setErrorCallback()`. Without it,
   * each episode of failures is one `console.warn`.
   */
  onAcceptError?: AcceptErrorCallback<C, unknown> | null | undefined;
  /** Told of callbacks that fail. Without it, they go to `console.error`. */
  onConnectionError?: ConnectionErrorCallback<C> | null | undefined;
}
