/** TCP_NODELAY and SO_KEEPALIVE, which Deno sets on a connection. */

/**
 * Gives what sets them on a connection. It says whether that was possible: it is
 * not when the client has reset the connection already.
 */
export function setTcpOptions(
  noDelay: boolean,
  keepAlive: boolean,
): (conn: Deno.Conn) => boolean {
  return (conn) => {
    try {
      if (noDelay) (conn as Deno.TcpConn).setNoDelay();
      if (keepAlive) (conn as Deno.TcpConn).setKeepAlive();
      return true;
    } catch {
      return false;
    }
  };
}
