/**
 * Sets TCP_NODELAY and SO_KEEPALIVE on a connection.
 *
 * @returns Whether that was possible. If not, the client has reset the connection.
 * @throws {TypeError} If it is not a TCP connection.
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
