/** The PROXY protocol on a connection: what is read of it, and what it shows then. */
import {
  bytesAhead,
  readAhead,
  realRemoteAddr,
  showAddrs,
  shownAddrs,
  skipAhead,
} from "./covered.ts";
import {
  headerLength,
  type ParsedHeader,
  parseHeader,
} from "./proxy_header.ts";
import type { Outcome } from "./stage.ts";
import type { ProxyHeader } from "./types.ts";
import type { Step } from "./waiting.ts";

/** By this much it can be told how long a header of version 2 is, in bytes. */
const FIXED_PART = 16;
/** The longest header of version 1, in bytes. */
const MAX_LINE = 107;

/**
 * Gives what reads a connection's header, and lets it show its addresses from then
 * on. A header of version 2 is read exactly; with the line of version 1 more may be
 * read, which comes first when the connection is read.
 */
export function proxyHeaderReader(): Step<Deno.Conn> {
  // A proxy speaks one version. So a line is there with the first read, and nothing
  // is read beyond a header of version 2.
  let firstRead = FIXED_PART;
  return async (conn, isHere) => {
    if (shownAddrs(conn)) return true; // read by who had it before
    try {
      for (;;) {
        const bytes = bytesAhead(conn);
        if (bytes.length > 0) firstRead = isLine(bytes) ? MAX_LINE : FIXED_PART;
        const length = headerLength(bytes);
        if (length === undefined) return "proxy-header";
        if (length <= bytes.length) return apply(conn, bytes.slice(0, length));
        const upTo = bytes.length === 0 || isLine(bytes) ? firstRead : length;
        const atMost = upTo - bytes.length;
        const isGone = await readAhead(conn, atMost) === null;
        if (isGone || !isHere(conn)) return false;
      }
    } catch {
      return false; // the client has reset the connection
    }
  };
}

/** Whether it is version 1, which begins with a P. */
function isLine(bytes: Uint8Array): boolean {
  return bytes[0] === 0x50;
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
