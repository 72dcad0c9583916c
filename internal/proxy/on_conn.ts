/** The PROXY protocol on a connection: what is read of it, and what it shows then. */
import {
  bytesAhead,
  readAhead,
  realRemoteAddr,
  showAddrs,
  shownAddrs,
  skipAhead,
} from "../conn/covered.ts";
import { headerLength, type ParsedHeader, parseHeader } from "./header.ts";
import type { Outcome } from "../accept/stage.ts";
import type { ProxyHeader } from "../types.ts";

/**
 * Reads a connection's header, and lets it show its addresses from then on. More may be
 * read with it, which comes first when the connection is read.
 */
export async function readProxyHeader(
  conn: Deno.Conn,
  isHere: (conn: Deno.Conn) => boolean,
): Promise<Outcome> {
  if (shownAddrs(conn)) return true; // read by who had it before
  for (;;) {
    const bytes = bytesAhead(conn);
    const length = headerLength(bytes);
    if (length === undefined) return "proxy-header";
    if (length <= bytes.length) return apply(conn, bytes.slice(0, length));
    if (!await readAhead(conn) || !isHere(conn)) return false;
  }
}

function apply(conn: Deno.Conn, bytes: Uint8Array): Outcome {
  const header = parseHeader(bytes);
  if (header === undefined) return "proxy-header";
  skipAhead(conn, bytes.length);
  showAddrs(conn, header);
  return true;
}

/**
 * What a proxy has said of a connection of a listener with `proxyProtocol`.
 *
 * @param conn A connection that the listener has delivered.
 * @returns The header, or `undefined` for a connection without one.
 * @category Listening
 *
 * @example Behind a proxy
 * ```ts
 * import { listen, proxyHeader } from "@evconn/listener";
 * import { assertEquals } from "@std/assert";
 *
 * await using listener = listen({ port: 0, proxyProtocol: true }, (conn) => {
 *   const from = `${conn.remoteAddr.hostname} by ${proxyHeader(conn)?.proxy.hostname}`;
 *   return conn.write(new TextEncoder().encode(from));
 * });
 *
 * using proxy = await Deno.connect({ port: listener.addr.port });
 * const header = "PROXY TCP4 192.0.2.1 192.0.2.2 50000 443\r\n";
 * await proxy.write(new TextEncoder().encode(header));
 * assertEquals(await new Response(proxy.readable).text(), "192.0.2.1 by 127.0.0.1");
 * ```
 */
export function proxyHeader(conn: Deno.Conn): ProxyHeader | undefined {
  const header = shownAddrs(conn) as ParsedHeader | undefined;
  if (header === undefined) return undefined;
  const { version, command, source, destination, tlvs } = header;
  return {
    version,
    command,
    proxy: realRemoteAddr(conn) as Deno.NetAddr,
    ...(source && { source }),
    ...(destination && { destination }),
    tlvs: [...tlvs],
  };
}
