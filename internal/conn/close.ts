/** Closing a connection. Nothing here throws, whatever the connection does. */

/** Closes a connection that may be closed already. */
export function dispose(conn: Deno.Conn): void {
  try {
    conn[Symbol.dispose]();
  } catch {
    // A connection of another class may throw: there is nothing to do about it.
  }
}

/** Closes a connection, or a socket. Returns whether it was open. */
export function close(closer: { close(): void }): boolean {
  try {
    closer.close();
    return true;
  } catch {
    return false;
  }
}
