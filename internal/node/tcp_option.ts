/** The options of a TCP connection, where the connection has them. */

/** Sets an option. Does nothing on a Unix socket, and on a connection that is closed. */
export function setTcpOption(
  conn: Deno.Conn,
  name: "setNoDelay" | "setKeepAlive",
  value: boolean,
): void {
  try {
    (conn as Partial<Deno.TcpConn>)[name]?.(value);
  } catch {
    // The client may have gone: the next read or write says so.
  }
}
