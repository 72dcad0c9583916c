/**
 * What a failed accept, or a failed handler, means: that the peer is gone, that
 * the socket was closed here, or anything else.
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

/** The `code` that Deno sets on an error of the operating system. */
export function errorCode(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null | undefined)?.code;
  return typeof code === "string" ? code : undefined;
}

/**
 * Whether a failed accept is about a client that went away, not about the listener.
 * Interrupted is EINTR here: the caller has looked whether the socket was closed.
 */
export function isPeerGoneBeforeAccept(error: unknown): boolean {
  return error instanceof Deno.errors.Interrupted ||
    PEER_GONE_BEFORE_ACCEPT.has(errorCode(error) ?? "");
}

/**
 * Whether a handler's error only says that the peer went away. A TLS peer that
 * leaves without saying so gives UnexpectedEof, which has no code.
 */
export function isPeerGoneWhileServed(error: unknown): boolean {
  return error instanceof Deno.errors.UnexpectedEof ||
    PEER_GONE_WHILE_SERVED.has(errorCode(error) ?? "");
}

/** Whether an error says that the socket it came from was closed on this side. */
export function isClosedHere(error: unknown): boolean {
  return error instanceof Deno.errors.BadResource ||
    error instanceof Deno.errors.Interrupted;
}
