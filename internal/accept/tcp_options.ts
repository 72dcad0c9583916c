/**
 * Sets TCP_NODELAY and SO_KEEPALIVE on a connection, and says whether that was
 * possible. It is not when the client has reset the connection already.
 *
 * @throws {TypeError} If it is no TCP connection.
 */
export function setTcpOptions(
  conn: Deno.Conn,
  noDelay: boolean,
  keepAlive: boolean,
): boolean {
  try {
    if (noDelay) (conn as Deno.TcpConn).setNoDelay();
    if (keepAlive) (conn as Deno.TcpConn).setKeepAlive();
    return true;
  } catch (error) {
    if (error instanceof TypeError) throw error;
    return false;
  }
}
