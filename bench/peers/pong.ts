/** The handler that the Deno peers share: every read is answered with `+PONG`. */

const PONG = new TextEncoder().encode("+PONG\r\n");

/** Serves a connection, with a buffer of its own, until the client leaves. */
export async function pong(conn: Deno.Conn): Promise<void> {
  const buffer = new Uint8Array(1024);
  try {
    while (await conn.read(buffer) !== null) await conn.write(PONG);
  } catch {
    // The client has reset the connection, or a shutdown has closed it.
  } finally {
    conn[Symbol.dispose]();
  }
}
