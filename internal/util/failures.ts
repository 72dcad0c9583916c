/**
 * What the error of an accept or of a handler means. Thrown values must be examined only
 * here: they may have getters that throw, or be a revoked Proxy.
 */

/**
 * Errors that Deno gives no `code`, by the number at the end of their message. Deno
 * knows the codes that libuv has, and accept(2) has more. On Windows it has none of
 * these.
 */
const NUMBERS: Partial<Record<typeof Deno.build.os, Record<string, string>>> = {
  linux: {
    23: "ENFILE",
    64: "ENONET",
    71: "EPROTO",
    92: "ENOPROTOOPT",
    100: "ENETDOWN",
    112: "EHOSTDOWN",
  },
  darwin: {
    23: "ENFILE",
    42: "ENOPROTOOPT",
    50: "ENETDOWN",
    64: "EHOSTDOWN",
    100: "EPROTO",
    102: "EOPNOTSUPP",
  },
};
NUMBERS.android = NUMBERS.linux!;

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
  "ENOTSUP", // Deno's name for EOPNOTSUPP on Linux
  "EOPNOTSUPP",
  "EPERM",
  "EPROTO",
  "ETIMEDOUT",
  "EINTR",
  "EAGAIN",
]);
// BSD's getpeername reports a reset connection as EINVAL. On Linux and Windows the
// same code comes from accept itself and means that the socket does not listen.
if (!["linux", "android", "windows"].includes(Deno.build.os)) {
  PEER_GONE_BEFORE_ACCEPT.add("EINVAL");
}

/** Codes with which reading or writing says that the peer went away. */
const PEER_GONE_WHILE_SERVED = new Set([
  "ECONNABORTED",
  "ECONNRESET",
  "ENOTCONN",
  "EPIPE",
  "ETIMEDOUT",
  // Node's streams only say that they ended too early.
  "ERR_STREAM_DESTROYED",
  "ERR_STREAM_PREMATURE_CLOSE",
]);

/** How the message of such an error begins or ends in Deno's HTTP servers. It has no code. */
const PEER_GONE_IN_HTTP =
  /^(connection (error|closed)|error reading a body|unexpected EOF)|\(os error \d+\)$/;

/** How many causes are followed. An error can be its own cause. */
const MAX_CAUSES = 8;

type ErrorClass = abstract new (message: string) => Error;

function isA(error: unknown, ...classes: ErrorClass[]): boolean {
  try {
    return classes.some((ErrorClass) => error instanceof ErrorClass);
  } catch {
    return false; // a revoked Proxy has no prototype
  }
}

/** A property of whatever was thrown. */
function property(error: unknown, name: string): unknown {
  try {
    return (error as Record<string, unknown>)[name];
  } catch {
    return undefined; // it has no properties, or a getter that throws
  }
}

/** The `code` of an error of the operating system, also where Deno sets none. */
export function errorCode(error: unknown): string {
  const code = property(error, "code");
  if (typeof code === "string") return code;
  const message = property(error, "message");
  if (typeof message !== "string") return "";
  // The message must be the system's alone: another error may quote it.
  const [, number = ""] = /^[^:]* \(os error (\d+)\)$/.exec(message) ?? [];
  return NUMBERS[Deno.build.os]?.[number] ?? "";
}

/** Whether an operation failed because its connection or listener is closed. */
export function isClosed(error: unknown): boolean {
  return isA(error, Deno.errors.BadResource);
}

/** Whether a failed accept is about a client that went away. Interrupted is EINTR here. */
export function isPeerGoneBeforeAccept(error: unknown): boolean {
  return isA(error, Deno.errors.Interrupted) ||
    PEER_GONE_BEFORE_ACCEPT.has(errorCode(error));
}

/**
 * Whether a handler's error, or one of its causes, only says that the peer went away. If
 * a TLS peer leaves without a close notification, the error is UnexpectedEof, which has
 * no code.
 */
export function isPeerGoneWhileServed(error: unknown): boolean {
  for (let left = MAX_CAUSES; left > 0 && error !== undefined; left--) {
    if (
      isA(error, Deno.errors.UnexpectedEof) || isPeerGoneInHttp(error) ||
      PEER_GONE_WHILE_SERVED.has(errorCode(error))
    ) return true;
    error = property(error, "cause");
  }
  return false;
}

function isPeerGoneInHttp(error: unknown): boolean {
  const message = property(error, "message");
  return isA(error, Deno.errors.Http) && typeof message === "string" &&
    PEER_GONE_IN_HTTP.test(message);
}

/**
 * Whether an error says that a connection was closed while an operation on it was
 * pending, perhaps because it took too long, or before it began.
 */
export function isCancelled(error: unknown): boolean {
  return isClosed(error) ||
    isA(error, Deno.errors.Interrupted, Deno.errors.TimedOut);
}

/** Whether two errors have the same name and message. */
export function isSame(one: unknown, other: unknown): boolean {
  try {
    return (one as Error).name === (other as Error).name &&
      (one as Error).message === (other as Error).message;
  } catch {
    return false; // one of them has no properties, or a getter that throws
  }
}

/** An Error, whatever was thrown, with a `code` if it has a known one. */
export function toError(thrown: unknown): Error {
  const error = isA(thrown, Error)
    ? thrown as Error
    : new Error(textOf(thrown), { cause: thrown });
  const code = errorCode(error);
  if (code === "" || property(error, "code") === code) return error;
  try {
    return Object.assign(error, { code });
  } catch {
    return error; // it is frozen
  }
}

/** An error as text, whatever was thrown. */
export function textOf(error: unknown): string {
  try {
    return typeof error === "string" ? error : Deno.inspect(error);
  } catch {
    return "something that cannot be shown";
  }
}
