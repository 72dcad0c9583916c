/**
 * What a failed accept, or a failed handler, means. Whatever was thrown may be
 * looked at here, and only here: it may have getters that throw, or be a revoked
 * Proxy.
 */

/**
 * Codes that are about one connection, not about the listener. accept(2) passes
 * on errors that are already pending on the new connection; Deno then asks for
 * the peer's address, which fails when the peer has reset it meanwhile
 * (ENOTCONN). That connection is out of the queue then, and with EINTR and EAGAIN
 * nothing has happened at all: the next accept is tried at once.
 */
const PEER_GONE_BEFORE_ACCEPT = new Set([
  "ECONNABORTED",
  "ECONNRESET",
  "EHOSTDOWN",
  "EHOSTUNREACH",
  "ENETDOWN",
  "ENETUNREACH",
  "ENONET",
  "ENOPROTOOPT",
  "ENOTCONN",
  "EOPNOTSUPP",
  "EPERM",
  "EPROTO",
  "ETIMEDOUT",
  "EINTR",
  "EAGAIN",
]);
// BSD's getpeername reports a reset connection as EINVAL. On Linux the same
// code comes from accept itself and means that the socket does not listen.
if (Deno.build.os !== "linux" && Deno.build.os !== "android") {
  PEER_GONE_BEFORE_ACCEPT.add("EINVAL");
}

/** Codes with which reading or writing says that the peer went away. */
const PEER_GONE_WHILE_SERVED = new Set([
  "ECONNABORTED",
  "ECONNRESET",
  "ENOTCONN",
  "EPIPE",
  "ETIMEDOUT",
]);

type ErrorClass = abstract new (message: string) => Error;

function isA(error: unknown, ...classes: ErrorClass[]): boolean {
  try {
    return classes.some((ErrorClass) => error instanceof ErrorClass);
  } catch {
    return false; // a revoked Proxy has no prototype
  }
}

/** The `code` that Deno sets on an error of the operating system. */
export function errorCode(error: unknown): string {
  try {
    const { code } = error as { code?: unknown };
    return typeof code === "string" ? code : "";
  } catch {
    return ""; // it has no properties, or a getter that throws
  }
}

/** Whether an operation failed because what it was for has been closed. */
export function isClosed(error: unknown): boolean {
  return isA(error, Deno.errors.BadResource);
}

/** Whether a failed accept is about a client that went away. Interrupted is EINTR here. */
export function isPeerGoneBeforeAccept(error: unknown): boolean {
  return isA(error, Deno.errors.Interrupted) ||
    PEER_GONE_BEFORE_ACCEPT.has(errorCode(error));
}

/**
 * Whether a handler's error only says that the peer went away. A TLS peer that
 * leaves without saying so gives UnexpectedEof, which has no code.
 */
export function isPeerGoneWhileServed(error: unknown): boolean {
  return isA(error, Deno.errors.UnexpectedEof) ||
    PEER_GONE_WHILE_SERVED.has(errorCode(error));
}

/**
 * Whether an error says that a connection was closed while an operation on it was
 * pending, perhaps because it took too long, or before it began.
 */
export function isCancelled(error: unknown): boolean {
  return isClosed(error) ||
    isA(error, Deno.errors.Interrupted, Deno.errors.TimedOut);
}

/** Whether two errors are of the same class and say the same. */
export function isSame(one: unknown, other: unknown): boolean {
  try {
    return (one as Error).name === (other as Error).name &&
      (one as Error).message === (other as Error).message;
  } catch {
    return false; // one of them has no properties, or a getter that throws
  }
}

/** An Error, whatever was thrown. */
export function toError(error: unknown): Error {
  if (isA(error, Error)) return error as Error;
  return new Error(textOf(error), { cause: error });
}

/** An error as text, whatever was thrown. */
export function textOf(error: unknown): string {
  try {
    return typeof error === "string" ? error : Deno.inspect(error);
  } catch {
    return "something that cannot be shown";
  }
}
