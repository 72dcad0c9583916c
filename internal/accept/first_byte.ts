import { bytesAhead, readAhead } from "../conn/covered.ts";

/**
 * Resolves when a client has spoken, with whether it has (LEV_OPT_DEFERRED_ACCEPT).
 * The kernel could wait for that itself (TCP_DEFER_ACCEPT), but Deno does not expose
 * it. So the first bytes are read here, and come first when the connection is read.
 */
export function firstByte(conn: Deno.Conn): boolean | Promise<boolean> {
  if (bytesAhead(conn).length > 0) return true;
  return readAhead(conn);
}
