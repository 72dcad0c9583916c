/** What HAProxy tells of a client's TLS, in a PROXY header of version 2. */
import type { ProxyHeader } from "@evconn/listener";

/** The types in the specification of the PROXY protocol, and their names there. */
const AUTHORITY = 0x02; // PP2_TYPE_AUTHORITY
const SSL = 0x20; // PP2_TYPE_SSL
const SSL_CN = 0x22; // PP2_SUBTYPE_SSL_CN
/** Before the entries inside of SSL are a byte of flags and the result of verifying. */
const SSL_HEAD = 5;

type Entry = ProxyHeader["tlvs"][number];

/**
 * The name that the client wanted (SNI), and the common name of its certificate,
 * which HAProxy has verified with `verify required`. Each is left out where HAProxy
 * does not tell it.
 */
export function tlsNames(
  { tlvs }: ProxyHeader,
): { serverName?: string; commonName?: string } {
  const serverName = text(tlvs, AUTHORITY);
  const ssl = tlvs.find(({ type }) => type === SSL)?.value;
  const commonName = ssl && text(entries(ssl.subarray(SSL_HEAD)), SSL_CN);
  return {
    ...(serverName !== undefined && { serverName }),
    ...(commonName !== undefined && { commonName }),
  };
}

function text(entries: Iterable<Entry>, wanted: number): string | undefined {
  for (const { type, value } of entries) {
    if (type === wanted) return new TextDecoder().decode(value);
  }
}

/** Entries as they come: a byte for the type, two for the length, and the value. */
function* entries(bytes: Uint8Array): Generator<Entry> {
  while (bytes.length >= 3) {
    const [type, high, low] = bytes as unknown as [number, number, number];
    const end = 3 + high * 256 + low;
    yield { type, value: bytes.subarray(3, end) };
    bytes = bytes.subarray(end);
  }
}
