/** Resolves when a TLS handshake is done, with whether it has succeeded. */
export async function handshake(conn: Deno.Conn): Promise<boolean> {
  try {
    await (conn as Deno.TlsConn).handshake();
    return true;
  } catch {
    return false;
  }
}
