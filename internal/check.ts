/** Bad input is refused here, in the words of the standard library. */
import { RESERVED } from "./accept/holds.ts";

/** The longest wait that a timer takes; a longer one would fire at once. */
const MAX_TIMEOUT = 2 ** 31 - 1;

/** Says what is wrong with an option, in one form for all. */
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

/** Refuses what is neither a function nor left out. */
export function checkCallback(
  name: string,
  callback: unknown,
  purpose?: string,
): void {
  if (callback != null && typeof callback !== "function") {
    refuse(TypeError, name, "a function", callback, purpose);
  }
}

/** Refuses a limit for each peer where peers have no address. */
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

/** Refuses a reason that a program cannot have for its own. */
export function checkReason(reason: string): void {
  const isOurs = reason === "" || RESERVED.includes(reason);
  if (typeof reason === "string" && !isOurs) return;
  const must = "a string that is neither empty nor a reason of the listener's";
  refuse(TypeError, "reason", must, reason, "hold");
}

/** Refuses a limit that is not a positive whole number or Infinity. */
export function checkLimit(name: string, max: number, purpose?: string): void {
  const valid = max === Infinity || Number.isInteger(max) && max > 0;
  if (valid) return;
  const ErrorClass = typeof max === "number" ? RangeError : TypeError;
  const must = "a positive integer or Infinity";
  refuse(ErrorClass, name, must, max, purpose);
}

/** Refuses a wait that is none. */
export function checkWait(name: string, wait: number): void {
  if (typeof wait === "number" && wait > 0) return;
  const ErrorClass = typeof wait === "number" ? RangeError : TypeError;
  refuse(ErrorClass, name, "a positive number of ms or Infinity", wait);
}

/** Refuses a wait that a timer cannot keep. */
export function checkTimeout(timeout: number, purpose = "shut down"): void {
  const valid = timeout >= 0 &&
    (timeout <= MAX_TIMEOUT || timeout === Infinity);
  if (typeof timeout === "number" && valid) return;
  const ErrorClass = typeof timeout === "number" ? RangeError : TypeError;
  const must = `from 0 to ${MAX_TIMEOUT} ms or Infinity`;
  refuse(ErrorClass, "timeout", must, timeout, purpose);
}

/** Refuses what is neither true nor false. */
export function checkBoolean(name: string, value: unknown): void {
  if (typeof value !== "boolean") refuse(TypeError, name, "a boolean", value);
}

/** Refuses what nothing can be accepted from. */
export function checkSocket(socket: Deno.Listener): void {
  if (typeof socket?.accept !== "function") {
    refuse(TypeError, "socket", "a Deno.Listener", socket);
  }
}
