/** The callbacks and options that a program gives to a listener. */
import type { ConnListener } from "../listener.ts";
import type { RejectReason } from "./types.ts";

/**
 * Called once for each connection, in the order in which connections are ready. It may
 * pause, close or detach the listener, or set another callback.
 *
 * If the callback returns a promise, the connection is active until the promise settles:
 * it counts toward `maxConnections`, and `shutdown()` waits for it. Then the listener
 * closes the connection. If the callback returns anything else, the connection is yours:
 * you close it, you handle its errors, and the listener does not count it.
 *
 * @typeParam C The type of the connection.
 * @typeParam D The type of the data that is given along with the callback.
 * @category Callbacks
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
 * The last argument of `listen()`, `listenTls()` and `setCallback()`: data that the
 * listener passes to the callback as its third argument. It is required if the callback
 * expects data, and may be left out if it does not.
 *
 * @typeParam D The type of the data.
 * @category Callbacks
 *
 * @example Usage
 * ```ts
 * import { listen } from "@evconn/listener";
 * import { assertEquals } from "@std/assert";
 *
 * const greet = (conn: Deno.TcpConn, _: unknown, name: string) =>
 *   conn.write(new TextEncoder().encode(`hello ${name}`));
 *
 * // Without "world", this is a type error.
 * await using listener = listen({ port: 0 }, greet, "world");
 *
 * using client = await Deno.connect({ port: listener.addr.port });
 * assertEquals(await new Response(client.readable).text(), "hello world");
 * ```
 */
export type CallbackData<D> = undefined extends D ? [data?: D] : [data: D];

/**
 * Called when an accept fails for a reason that is not the client's, such as too many
 * open files (`error.code === "EMFILE"`). The listener waits for 5 ms, and twice as long
 * after each further failure, up to 1 s. Then it tries again, unless this callback closes
 * or pauses it. Clients that leave before they are accepted are never reported.
 *
 * @typeParam C The type of the connections.
 * @typeParam D The type of the data that is given along with the connection callback.
 * @category Callbacks
 *
 * @example Pausing for a second when there are no file descriptors
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
 * Called when a connection callback throws, or when its promise rejects. The connection
 * is closed already.
 *
 * It is not called if the client went away, if this side closed the connection while an
 * operation on it was pending, if the client was idle for `idleTimeout`, or if the TLS
 * handshake failed.
 *
 * @typeParam C The type of the connection.
 * @category Callbacks
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
 * Called for each connection that is rejected, before it is closed. If it returns a
 * promise, the connection stays open until the promise settles, so that you can send one
 * last line.
 *
 * After that line the listener ends its side, discards what the client still sends, and
 * closes the connection when the client has ended its side, too. So the client gets the
 * line even if it is still sending. All of that takes 1 s at most, and at most 64
 * connections at a time are kept open for it; others are closed at once. Errors of this
 * callback are ignored.
 *
 * @typeParam C The type of the connection.
 * @category Callbacks
 *
 * @example Sending a last line
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
 * Options of a listener, in addition to those of `Deno.listen`. Each is read once, when
 * the listener is made. `null` is the same as leaving an option out. The two limits can
 * be changed later, on the listener.
 *
 * @typeParam C The type of the connections.
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
   * The highest number of connections at a time. Counted are active connections, and
   * those that are accepted but not delivered yet. Not counted are connections whose
   * callback returns no promise, and those that `accept()` or a loop takes: there you
   * limit by not accepting the next one.
   *
   * With TLS, Deno cannot close a connection during its handshake. Then its place is free
   * at once, but its file descriptor stays open until the client leaves.
   *
   * @default {Infinity}
   */
  maxConnections?: number | null | undefined;
  /**
   * What happens to new clients when `maxConnections` is reached:
   *
   * - `"queue"`: they connect, and wait in the kernel's queue until a place is free;
   * - `"reject"`: they connect, and are closed at once.
   *
   * ```ts
   * import { listen } from "@evconn/listener";
   *
   * await using listener = listen(
   *   { port: 0, maxConnections: 100, overflow: "reject" },
   *   (conn) => conn.readable.pipeTo(conn.writable),
   * );
   * ```
   *
   * @default {"queue"}
   */
  overflow?: "queue" | "reject" | null | undefined;
  /**
   * The highest number of connections of one client at a time, counted as for
   * `maxConnections`. {@linkcode peerOf} says what one client is: an IPv4 address, or the
   * first 64 bits of an IPv6 address. Further connections are rejected at once, whatever
   * `overflow` says. Not available for Unix sockets.
   *
   * @default {Infinity}
   */
  maxConnectionsPerPeer?: number | null | undefined;
  /**
   * Decides which clients may connect: it gets each client's address, and must return
   * `true` at once to let the client in. Otherwise, or if it throws, the connection is
   * rejected. `onConnectionError` is called with what it throws. With `proxyProtocol`,
   * the address is the one in the PROXY header.
   *
   * On a socket that listens on `::`, IPv4 clients have addresses like
   * `::ffff:192.0.2.1`, so compare what {@linkcode peerOf} returns.
   *
   * ```ts
   * import { listen, peerOf } from "@evconn/listener";
   *
   * const denied = new Set(["192.0.2.1", "192.0.2.2"]);
   * await using listener = listen(
   *   { port: 0, admit: (addr) => !denied.has(peerOf(addr)) },
   *   (conn) => conn.readable.pipeTo(conn.writable),
   * );
   * ```
   */
  admit?:
    | ((addr: C["remoteAddr"], listener: ConnListener<C>) => boolean)
    | null
    | undefined;
  /**
   * Called for each connection that is rejected, before it is closed.
   *
   * ```ts
   * import { listen } from "@evconn/listener";
   *
   * await using listener = listen({
   *   port: 0,
   *   maxConnectionsPerPeer: 20,
   *   onReject: (conn, reason) =>
   *     conn.write(new TextEncoder().encode(`421 ${reason}\r\n`)),
   * }, (conn) => conn.readable.pipeTo(conn.writable));
   * ```
   */
  onReject?: RejectCallback<C> | null | undefined;
  /**
   * Whether clients connect through a proxy that uses the PROXY protocol, version 1 or 2:
   * HAProxy with `send-proxy`, nginx with `proxy_protocol on`, and most cloud load
   * balancers. `remoteAddr` and `localAddr` are then the addresses in the PROXY header;
   * {@linkcode proxyHeader} returns the rest of it. TCP only.
   *
   * With `true`, each connection must begin with a PROXY header. A function decides by a
   * proxy's address whether it may connect; all others are rejected. The header is never
   * optional, because then any client could send one and fake its address. A header of
   * more than 4,096 bytes is rejected.
   *
   * On a socket that listens on `::`, an IPv4 proxy has an address like
   * `::ffff:127.0.0.1`.
   *
   * ```ts
   * import { listen } from "@evconn/listener";
   *
   * await using listener = listen(
   *   { port: 0, proxyProtocol: (proxy) => proxy.hostname === "10.0.0.5" },
   *   (conn) => conn.readable.pipeTo(conn.writable),
   * );
   * ```
   *
   * @default {false}
   */
  proxyProtocol?:
    | boolean
    | ((proxy: Deno.NetAddr) => boolean)
    | null
    | undefined;
  /**
   * How long a client may take until its connection is delivered, in ms: until its PROXY
   * header is complete and, with `LEV_OPT_DEFERRED_ACCEPT`, its first byte has arrived.
   * Then the connection is closed. With TLS, this option also delivers connections only
   * after their handshake; without the option, a handshake may take any time.
   *
   * @default {30_000}
   */
  handshakeTimeout?: number | null | undefined;
  /**
   * How long a read or a write may wait for the client, in ms. Then the connection is
   * closed, and the read or write rejects with `Deno.errors.TimedOut`.
   *
   * Each byte that arrives restarts the time of a read. A write's time restarts when the
   * kernel reports room for more data, which it does in large steps. A callback that
   * neither reads nor writes is not idle. The timeout may come late by a quarter of its
   * length, but at most by 1 s.
   *
   * It also applies to connections that `accept()` or a loop takes. There you must catch
   * `TimedOut`: if nothing does, a client that sends nothing ends the process.
   *
   * @default {Infinity}
   */
  idleTimeout?: number | null | undefined;
  /**
   * Whether small writes are sent at once (`TCP_NODELAY`). TCP only.
   *
   * @default {false}
   */
  noDelay?: boolean | null | undefined;
  /**
   * Whether the system checks that silent clients still exist (`SO_KEEPALIVE`). TCP only.
   *
   * @default {false}
   */
  keepAlive?: boolean | null | undefined;
  /** When this signal is aborted, the listener does `shutdown({ timeout: 0 })`. */
  signal?: AbortSignal | null | undefined;
  /**
   * Called when an accept fails. Without this option, the first failure in a row is
   * printed with `console.warn`. `setErrorCallback()` replaces it.
   */
  onAcceptError?: AcceptErrorCallback<C, unknown> | null | undefined;
  /**
   * Called when a connection callback fails. Without this option, the error is printed
   * with `console.error`.
   */
  onConnectionError?: ConnectionErrorCallback<C> | null | undefined;
}
