/** What clients of TLS do to a server under test. */
import { connect } from "./clients.ts";
import { AUTHORITY } from "./tls_certificates.ts";

/** A client that trusts the tests' authority, and asks for a name. */
export async function connectTls(
  listener: { addr: Deno.NetAddr },
  hostname = "one.test",
  options: Deno.StartTlsOptions = {},
): Promise<Deno.TlsConn> {
  const conn = await connect(listener);
  conn.setNoDelay();
  return await startTls(conn, hostname, options);
}

/** Goes on in TLS. */
export async function startTls(
  conn: Deno.TcpConn,
  hostname = "one.test",
  options: Deno.StartTlsOptions = {},
): Promise<Deno.TlsConn> {
  const caCerts = [AUTHORITY];
  const tls = await Deno.startTls(conn, { hostname, caCerts, ...options });
  try {
    await tls.handshake();
  } catch (error) {
    tls.close();
    throw error;
  }
  return tls;
}

/** Whether the server has closed a connection, with its last words or without. */
export function isGone(conn: Deno.Conn): Promise<boolean> {
  return conn.read(new Uint8Array(1))
    .then((length) => length === null, () => true);
}
