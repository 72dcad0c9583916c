/** Checks of options and arguments. Error messages have the form of the standard library. */
import { RESERVED } from "./accept/holds.ts";

/** The longest timeout of a timer, in ms. A timer with a longer one fires at once. */
export const MAX_TIMEOUT = 2 ** 31 - 1;

/** Throws an error that says what is wrong with an option. */
export function refuse(
  ErrorClass: new (message: string) => Error,
  name: string,
  must: string,
  received: unknown,
  purpose = "listen",
): never {
  throw new ErrorClass(
    `Cannot ${purpose} as '${name}' must be ${must}: received ${
      Deno.inspect(received)
    }`,
  );
}

/** Refuses a callback that is given, and is not a function. */
export function checkCallback(
  name: string,
  callback: unknown,
  purpose?: string,
): void {
  if (callback != null && typeof callback !== "function") {
    refuse(TypeError, name, "a function", callback, purpose);
  }
}

/** Refuses a limit for each peer on a Unix socket, where peers have no address. */
export function checkPeers(
  max: number,
  transport: string,
  purpose = "listen",
): void {
  if (transport !== "unix" || max === Infinity) return;
  throw new TypeError(
    `Cannot ${purpose} as 'maxConnectionsPerPeer' is not for Unix sockets: their clients have no address`,
  );
}

/** Refuses a reason of `hold()` that is empty, or that the listener uses itself. */
export function checkReason(reason: string): void {
  const isOurs = reason === "" || RESERVED.includes(reason);
  if (typeof reason === "string" && !isOurs) return;
  const must = "a string that is neither empty nor a reason of the listener's";
  refuse(TypeError, "reason", must, reason, "hold");
}

/** Refuses a limit that is neither a positive integer nor Infinity. */
export function checkLimit(name: string, max: number, purpose?: string): void {
  const valid = max === Infinity || Number.isInteger(max) && max > 0;
  if (valid) return;
  const ErrorClass = typeof max === "number" ? RangeError : TypeError;
  const must = "a positive integer or Infinity";
  refuse(ErrorClass, name, must, max, purpose);
}

/** Refuses a duration that is not positive. Infinity is allowed. */
export function checkDuration(name: string, ms: number): void {
  if (typeof ms === "number" && ms > 0) return;
  const ErrorClass = typeof ms === "number" ? RangeError : TypeError;
  refuse(ErrorClass, name, "a positive number of ms or Infinity", ms);
}

/** Refuses a timeout that is negative, or too long for a timer. Infinity is allowed. */
export function checkTimeout(timeout: number, purpose = "shut down"): void {
  const valid = timeout >= 0 &&
    (timeout <= MAX_TIMEOUT || timeout === Infinity);
  if (typeof timeout === "number" && valid) return;
  const ErrorClass = typeof timeout === "number" ? RangeError : TypeError;
  const must = `from 0 to ${MAX_TIMEOUT} ms or Infinity`;
  refuse(ErrorClass, "timeout", must, timeout, purpose);
}

/** Refuses a value that is not a boolean. */
export function checkBoolean(name: string, value: unknown): void {
  if (typeof value !== "boolean") refuse(TypeError, name, "a boolean", value);
}

/** Refuses a value that has no method `accept()`. */
export function checkSocket(socket: Deno.Listener): void {
  if (typeof socket?.accept !== "function") {
    refuse(TypeError, "socket", "a Deno.Listener", socket);
  }
}

/** Refuses a signal that is given, and is not an AbortSignal. */
export function checkSignal(signal: unknown): void {
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    refuse(TypeError, "signal", "an AbortSignal", signal);
  }
}
