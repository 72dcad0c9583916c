/** The end of a connection. Nothing here throws, whatever the connection does. */

/** Closes a connection that may be closed already. */
export function dispose(conn: Deno.Conn): void {
  try {
    conn[Symbol.dispose]();
  } catch {
    // What cannot be closed is not the listener's to mend.
  }
}

/** Closes a connection, or a socket, and says whether it was open. */
export function close(closer: { close(): void }): boolean {
  try {
    closer.close();
    return true;
  } catch {
    return false;
  }
}
