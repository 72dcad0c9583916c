/** The PROXY protocol on a connection. */
import type { Refusal } from "../accept/pipeline.ts";
import type { ConnState } from "../conn/conn_state.ts";
import {
  headerOf,
  readAhead,
  realRemoteAddr,
  showAddrs,
} from "../conn/front.ts";
import type { ProxyHeader } from "../types.ts";
import { headerLength, parseHeader } from "./header.ts";

const NO_BYTES = new Uint8Array();

/**
 * Whether a connection's header is complete. From then on, the connection shows the
 * addresses of the header. Bytes that were read together with the header are the first
 * that the program reads.
 */
export function proxyHeaderIsHere(
  state: ConnState,
): true | Refusal | undefined {
  if (state.header !== undefined) return true; // read by the listener before this one
  const { ahead } = state;
  const bytes = ahead?.bytes ?? NO_BYTES;
  const length = headerLength(bytes);
  if (length === undefined) return "proxy-header";
  if (length <= bytes.length) {
    const header = parseHeader(bytes.slice(0, length));
    if (header === undefined) return "proxy-header";
    ahead!.skip(length);
    showAddrs(state, header);
    return true;
  }
  if (ahead?.hasEnded) return false;
  readAhead(state);
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
  const header = headerOf(conn);
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
