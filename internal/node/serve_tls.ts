/** TLS by `node:tls`, as a listener's callback. */
import type { Server } from "node:tls";
import type { ConnListener } from "../../listener.ts";
import type { ConnectionCallback } from "../options.ts";
import { isPromise } from "../util/hooks.ts";
import { Handshakes } from "./handshake.ts";
import { serverOf, type ServeTlsOptions } from "./tls_options.ts";
import { type ServedTlsConn, TlsConn } from "./tls_conn.ts";

/** A callback that makes the handshake, and calls another one. */
export function tlsCallback<D>(
  options: ServeTlsOptions | Server,
  callback: (
    conn: ServedTlsConn,
    listener: ConnListener,
    data: D,
  ) => unknown,
): ConnectionCallback<Deno.TcpConn, D> {
  const handshakes = new Handshakes(serverOf(options));
  return async (conn, listener, data) => {
    const secure = await handshakes.make(conn, listener.signal);
    if (secure === undefined) return;
    try {
      using tls = new TlsConn(secure);
      const result = callback(tls, listener, data);
      await (isPromise(result) ? result : secure.wire.finished);
    } finally {
      await secure.wire.finished;
    }
  };
}
