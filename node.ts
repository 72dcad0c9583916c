/**
 * Servers that are written for Node, on the connections of a listener; and TLS.
 *
 * @module
 */
import type { Server as NetServer } from "node:net";
import type { Server as TlsServer } from "node:tls";
import { serverCallback, socketCallback } from "./internal/node/serve.ts";
import { tlsCallback } from "./internal/node/serve_tls.ts";
import type { NodeSocket } from "./internal/node/node_socket.ts";
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

export function serveNode(
  server: NetServer,
): (
  conn: Deno.Conn,
  listener: Pick<ConnListener<Deno.Conn>, "signal" | "finished">,
) => Promise<void>;
export function serveNode<C extends Deno.Conn = Deno.TcpConn, D = undefined>(
  handle: (socket: NodeSocket, listener: ConnListener<C>, data: D) => unknown,
): ConnectionCallback<C, D>;
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
