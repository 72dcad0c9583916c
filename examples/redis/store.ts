/** The data of the small Redis: strings, counters and expiry, in memory. */
import { bytes, text } from "./bytes.ts";
import { globToRegExp } from "./glob.ts";
import type { Reply } from "./replies.ts";

const values = new Map<string, Uint8Array>();
const deadlines = new Map<string, number>(); // in ms since 1970

/** An error whose message is sent to the client. */
export class CommandError extends Error {}

// Expired keys are removed when they are used. This removes the others.
Deno.unrefTimer(setInterval(() => {
  for (const key of deadlines.keys()) has(key);
}, 1000));

export function has(key: string): boolean {
  if (Date.now() >= (deadlines.get(key) ?? Infinity)) forget(key);
  return values.has(key);
}

export function get(key: string): Uint8Array | undefined {
  return has(key) ? values.get(key) : undefined;
}

export function remove(key: string): boolean {
  return has(key) && forget(key);
}

function forget(key: string): boolean {
  deadlines.delete(key);
  return values.delete(key);
}

export function toInteger(
  digits: Uint8Array,
  problem = "ERR value is not an integer or out of range",
): bigint {
  const number = digits.length <= 20 ? text(digits) : "";
  const value = /^(0|-?[1-9]\d*)$/.test(number) ? BigInt(number) : undefined;
  if (value === undefined || BigInt.asIntN(64, value) !== value) {
    throw new CommandError(problem);
  }
  return value;
}

export function add(key: string, amount: bigint): Reply {
  const sum = toInteger(get(key) ?? bytes("0")) + amount;
  if (BigInt.asIntN(64, sum) !== sum) {
    throw new CommandError("ERR increment or decrement would overflow");
  }
  values.set(key, bytes(`${sum}`));
  return `:${sum}`;
}

/** The time, in ms since 1970, at which so many units are over. */
function after(time: Uint8Array, unit: number, command: string): number {
  const wait = toInteger(time) * BigInt(unit);
  const then = BigInt(Date.now()) + wait;
  if ([wait, then].some((ms) => BigInt.asIntN(64, ms) !== ms)) {
    throw new CommandError(`ERR invalid expire time in '${command}' command`);
  }
  return Number(then);
}

export function set([name, value, ...options]: Uint8Array[]): Reply {
  const key = text(name!);
  let mustExist: boolean | undefined;
  let unit = 0, time: Uint8Array | undefined;
  for (let option; (option = options.shift());) {
    const word = text(option).toUpperCase();
    const given = { EX: 1000, PX: 1 }[word];
    if (/^(NX|XX)$/.test(word) && mustExist !== (word === "NX")) {
      mustExist = word === "XX";
    } else if (given && (!time || unit === given) && options.length > 0) {
      unit = given;
      time = options.shift();
    } else throw new CommandError("ERR syntax error");
  }
  const deadline = time && after(time, unit, "set");
  if (time && toInteger(time) <= 0n) {
    throw new CommandError("ERR invalid expire time in 'set' command");
  }
  const exists = has(key);
  if (exists !== (mustExist ?? exists)) return null;
  forget(key);
  values.set(key, value!);
  if (deadline !== undefined) deadlines.set(key, deadline);
  return "+OK";
}

export function expire(
  [name, time]: Uint8Array[],
  unit: number,
  command: string,
): Reply {
  const key = text(name!), deadline = after(time!, unit, command);
  if (!has(key)) return 0;
  deadlines.set(key, deadline);
  has(key); // removes the key if the time is over already
  return 1;
}

export function ttl(key: string): Reply {
  if (!has(key)) return -2;
  const deadline = deadlines.get(key);
  return deadline === undefined
    ? -1
    : Math.round((deadline - Date.now()) / 1000);
}

export function keys(pattern: string): Reply {
  if (pattern.length > 1024) throw new CommandError("ERR pattern is too long");
  const wanted = globToRegExp(pattern);
  return [...values.keys()]
    .filter((key) => wanted.test(key) && has(key)).map(bytes);
}

export function size(): Reply {
  return values.size;
}

export function clear([mode, ...rest]: Uint8Array[]): Reply {
  if (rest.length > 0 || mode && !/^A?SYNC$/i.test(text(mode))) {
    throw new CommandError("ERR syntax error");
  }
  values.clear();
  deadlines.clear();
  return "+OK";
}
