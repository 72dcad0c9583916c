/**
 * Servers that are written for Node, on the connections of a listener: `node:http`,
 * `node:tls`, and those from npm. {@linkcode serveNode} and {@linkcode serveTls} make
 * callbacks for `listen()`, so the listener's limits, its PROXY protocol and its
 * `shutdown()` hold for these servers, too.
 *
 * ```ts
 * import { listen } from "@evconn/listener";
 * import { serveNode } from "@evconn/listener/node";
 * import { assertEquals } from "@std/assert";
 * import { createServer } from "node:http";
 *
 * const server = createServer((request, response) => {
 *   response.end(`hello, ${request.socket.remoteAddress}`);
 * });
 * await using listener = listen(
 *   { port: 0, maxConnectionsPerPeer: 50 },
 *   serveNode(server),
 * );
 *
 * const response = await fetch(`http://127.0.0.1:${listener.addr.port}/`);
 * assertEquals(await response.text(), "hello, 127.0.0.1");
 * ```
 *
 * `serveTls()` is for what `listenTls()` cannot do: certificates for several names, a new
 * certificate without a new socket, certificates of clients, and a PROXY header before
 * the handshake. It takes more CPU time than `listenTls()`, for each handshake and each
 * byte.
 *
 * @module
 */
import type { Server as NetServer } from "node:net";
import type { Server as TlsServer } from "node:tls";
import type { NodeSocket } from "./internal/node/node_socket.ts";
import { serverCallback, socketCallback } from "./internal/node/serve.ts";
import { tlsCallback } from "./internal/node/serve_tls.ts";
import type { ServedTlsConn } from "./internal/node/tls_conn.ts";
import type { ServeTlsOptions } from "./internal/node/tls_options.ts";
import type { ConnectionCallback } from "./internal/options.ts";
import type { ConnListener } from "./listener.ts";

export {
  type NodeAddress,
  NodeSocket,
  type NodeSocketOptions,
} from "./internal/node/node_socket.ts";
export type { ServedTlsConn } from "./internal/node/tls_conn.ts";
export type { ServeTlsOptions } from "./internal/node/tls_options.ts";

/**
 * Makes a callback that gives each connection to a function, as a {@linkcode NodeSocket}.
 * The connection is active until the socket is closed.
 *
 * @typeParam C The connection's type, which follows the transport.
 * @typeParam D The type of the listener's `data`.
 * @param handle Called with each socket, the listener and its data. If it throws, or
 * its promise rejects, the socket is closed and the listener reports the error, unless the client
 * has gone away.
 * @returns A callback for `listen()`.
 * @category Node
 *
 * @example Usage
 * ```ts
 * import { listen } from "@evconn/listener";
 * import { serveNode } from "@evconn/listener/node";
 * import { assertEquals } from "@std/assert";
 *
 * await using listener = listen(
 *   { port: 0 },
 *   serveNode((socket) => void socket.end("hello")),
 * );
 *
 * using client = await Deno.connect({ port: listener.addr.port });
 * assertEquals(await new Response(client.readable).text(), "hello");
 * ```
 */
export function serveNode<C extends Deno.Conn = Deno.TcpConn, D = undefined>(
  handle: (socket: NodeSocket, listener: ConnListener<C>, data: D) => unknown,
): ConnectionCallback<C, D>;
/**
 * Makes a callback that gives each connection to a server: one of `node:net`,
 * `node:http`, `node:https` or `node:tls`, or one from npm that is made of these. The
 * server need not listen. The connection is active until its socket is closed.
 *
 * When the listener shuts down, so do its HTTP connections. A request that is being
 * answered is answered to its end. A client that waits with its next request has one more
 * second. The last answer says `Connection: close`. Connections that have been upgraded
 * are left to the program. The server itself goes on, for other listeners.
 *
 * @param server The server. One of `node:http` needs Deno 2.8 or later, one of
 * `node:https` or `node:tls` 2.9.
 * @returns A callback for `listen()`, on every transport.
 * @throws {TypeError} If this is neither a server nor a function.
 * @throws {Deno.errors.NotSupported} If the version of Deno is older than that.
 * @category Node
 */
export function serveNode(
  server: NetServer,
): (
  conn: Deno.Conn,
  listener: Pick<ConnListener<Deno.Conn>, "signal" | "finished">,
) => Promise<void>;
export function serveNode(
  // deno-lint-ignore no-explicit-any
  target: any,
  // deno-lint-ignore no-explicit-any
): any {
  if (typeof target === "function") return socketCallback(target);
  if (typeof target?.emit === "function") return serverCallback(target);
  throw new TypeError(
    `Cannot serve as 'server' must be a net.Server or a function: received ${target}`,
  );
}

/**
 * Makes a callback that makes a TLS handshake on each connection, by `node:tls`, and then
 * calls another callback with the decrypted connection. Needs Deno 2.9 or later.
 *
 * With a `tls.Server` of your own, a new certificate is a call of its
 * `setSecureContext()`. It is used for the next handshake; open connections stay. So is
 * what a `SNICallback` picks, which should pick the same context until there is a new
 * certificate.
 *
 * A client that fails in the handshake, or does not finish it within `handshakeTimeout`
 * (30 s, or what the `tls.Server` has), is closed. That is no error of the callback. When
 * the listener shuts down, handshakes have one more second.
 *
 * Only `conn.authorized` says that a client's certificate has been verified. Where
 * certificates are required, all other clients are refused. Deno resumes sessions of any TLS
 * server of the process; they are closed here, unless this server has verified the same
 * certificate before.
 *
 * A read gives `null` when the client has ended, also if it has not said so in TLS.
 *
 * @typeParam D The type of the listener's `data`.
 * @param options The options of `tls.createServer()`, or a server that it has made. The
 * server need not listen.
 * @param callback Called for each connection whose handshake is complete, with the
 * listener and its data. The connection is active until the promise that it returns
 * settles, or else until the connection is closed.
 * @returns A callback for `listen()` and `serveParallel()`.
 * @throws {TypeError} If the certificate or its key is missing or cannot be used, or if
 * `requestCert` is given without `ca`.
 * @throws {Deno.errors.NotSupported} Before Deno 2.9, and with `crl`, of which Deno takes
 * no notice.
 * @category Node
 *
 * @example Usage
 * ```ts
 * import { listen } from "@evconn/listener";
 * import { serveTls } from "@evconn/listener/node";
 * import { assertEquals } from "@std/assert";
 *
 * const cert = await Deno.readTextFile("tests/testdata/localhost.crt");
 * const key = await Deno.readTextFile("tests/testdata/localhost.key");
 * await using listener = listen(
 *   { port: 0 },
 *   serveTls({ cert, key }, (conn) => conn.readable.pipeTo(conn.writable)),
 * );
 *
 * const { port } = listener.addr;
 * using client = await Deno.connectTls({ hostname: "localhost", port, caCerts: [cert] });
 * await client.write(new TextEncoder().encode("hello"));
 * await client.closeWrite();
 * assertEquals(await new Response(client.readable).text(), "hello");
 * ```
 */
export function serveTls<D = undefined>(
  options: ServeTlsOptions | TlsServer,
  callback: (
    conn: ServedTlsConn,
    listener: ConnListener,
    data: D,
  ) => unknown,
): ConnectionCallback<Deno.TcpConn, D> {
  if (typeof callback === "function") return tlsCallback(options, callback);
  throw new TypeError(
    `Cannot serve TLS as 'callback' must be a function: received ${callback}`,
  );
}
