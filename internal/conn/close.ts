/** The end of a connection. Nothing here throws, whatever the connection does. */
/** Closes a connection that may be closed already. */
export function dispose(conn: Deno.Conn): void {
  try {
    conn[Symbol.dispose]();
  } catch {
    // A connection that cannot be closed is out of the listener's hands.
  }
}

/** Closes a connection, and says whether it was open. */
export function close(conn: Deno.Conn): boolean {
  try {
    conn.close();
    return true;
  } catch {
    return false;
  }
}

/**
 * Resolves to the error with which a connection's TLS handshake has failed, if it
 * has. Deno gives that while the connection is open only, so it is asked early.
 */
export function handshakeFailure(
  conn: Deno.Conn,
): Promise<unknown> | undefined {
  if (!("handshake" in conn)) return undefined;
  return (conn as Deno.TlsConn).handshake()
    .then(() => undefined, (error) => error);
}
