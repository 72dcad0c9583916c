import { isClosed, isSame } from "../util/failures.ts";

/**
 * How the messages of handshake errors begin, in the words of Deno's TLS library. Other
 * errors have the same classes, InvalidData and UnexpectedEof.
 */
const HANDSHAKE_ERROR =
  /^(received|peer (is|misb|sent|doesn)|invalid peer certificate|cannot decrypt peer's|unexpected end of file)/;

/**
 * Resolves to whether an error of a handler comes from its connection's TLS handshake.
 * Must be called before the connection is closed: then a handshake that has failed
 * rejects at once with the same error, and a pending one is cancelled by the close. If a
 * stream has closed the connection already, the error's message decides.
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
