import { isClosed, isSame } from "../util/failures.ts";

/**
 * How errors of a TLS handshake begin, as Deno's library for it words them: those of the
 * protocol, and the end of the bytes in the middle of it. Their classes, InvalidData and
 * UnexpectedEof, are also those of other errors.
 */
const HANDSHAKE_ERROR =
  /^(received|peer (is|misb|sent|doesn)|invalid peer certificate|cannot decrypt peer's|unexpected end of file)/;

/**
 * Resolves to whether an error of a handler is that of its connection's TLS handshake.
 * To be called before the connection is closed: then a handshake that has failed rejects
 * at once with the same error, and one that is pending is cancelled by the close. Where
 * a stream has closed the connection already, the error's text has to tell.
 *
 * @returns undefined for a connection without TLS.
 */
export function hasFailedHandshake(
  conn: Deno.Conn,
  error: unknown,
): Promise<boolean> | undefined {
  if (!("handshake" in conn)) return undefined;
  return (conn as Deno.TlsConn).handshake().then(
    () => false,
    (failure) => isClosed(failure) ? isOfTls(error) : isSame(failure, error),
  );
}

function isOfTls(error: unknown): boolean {
  try {
    const isOfClass = error instanceof Deno.errors.InvalidData ||
      error instanceof Deno.errors.UnexpectedEof;
    return isOfClass && HANDSHAKE_ERROR.test(error.message);
  } catch {
    return false; // a revoked Proxy has no prototype
  }
}
