/** The end of a connection. Nothing here throws, whatever the connection does. */
import { isCancelled, isClosed, isTlsError } from "./failures.ts";

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
 * Whether a handler's error is that of the TLS handshake. To be called before the
 * connection is closed: Deno then gives a handshake's own error, at once.
 */
export async function isHandshakeError(
  conn: Deno.Conn,
  error: unknown,
): Promise<boolean> {
  if (!("handshake" in conn) || isCancelled(error)) return false;
  try {
    await (conn as Deno.TlsConn).handshake();
  } catch (failure) {
    // A stream has closed it already. What it then says of TLS is this.
    if (isClosed(failure)) return isTlsError(error);
    return isSame(failure, error);
  }
  return false;
}

function isSame(one: unknown, other: unknown): boolean {
  try {
    return (one as Error).name === (other as Error).name &&
      (one as Error).message === (other as Error).message;
  } catch {
    return false; // it has getters that throw
  }
}
