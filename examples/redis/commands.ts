/** The commands of the small Redis. */
import { bytes, text } from "./bytes.ts";
import type { Replies, Reply } from "./replies.ts";
import * as store from "./store.ts";

type Command = (args: Uint8Array[]) => Reply;

/** By name: the arity as in Redis (negative for "at least"), the last key, the command. */
const commands = new Map<string, [number, number, Command]>(Object.entries({
  ping: [-1, 0, ping],
  echo: [2, 0, ([message]) => message!],
  set: [-3, 1, store.set],
  get: [2, 1, ([key]) => store.get(text(key!)) ?? null],
  del: [-2, -1, (keys) => count(keys, store.remove)],
  exists: [-2, -1, (keys) => count(keys, store.has)],
  incr: [2, 1, ([key]) => store.add(text(key!), 1n)],
  decr: [2, 1, ([key]) => store.add(text(key!), -1n)],
  expire: [3, 1, (args) => store.expire(args, 1000, "expire")],
  pexpire: [3, 1, (args) => store.expire(args, 1, "pexpire")],
  ttl: [2, 1, ([key]) => store.ttl(text(key!))],
  keys: [2, 0, ([pattern]) => store.keys(text(pattern!))],
  dbsize: [1, 0, store.size],
  flushall: [-1, 0, store.clear],
  command: [-1, 0, describe],
  hello: [-1, 0, hello],
  quit: [-1, 0, () => "+OK"],
}));

/** Runs a command and adds its reply. Returns false if it was the last one. */
export function execute(request: Uint8Array[], replies: Replies): boolean {
  const name = text(request[0]!).toLowerCase();
  try {
    replies.add(run(name, request));
  } catch (error) {
    if (!(error instanceof store.CommandError)) throw error;
    replies.add(`-${error.message.replace(/[\r\n]/g, " ")}`);
  }
  return name !== "quit";
}

function run(name: string, request: Uint8Array[]): Reply {
  const [arity, , command] = commands.get(name) ?? refuse(request);
  const { length } = request;
  if (arity < 0 ? length < -arity : length !== arity) wrongArity(name);
  return command(request.slice(1));
}

function refuse([name, ...args]: Uint8Array[]): never {
  let shown = "";
  for (const arg of args) {
    if (shown.length >= 128) break;
    shown += `'${text(arg.subarray(0, 128 - shown.length))}' `;
  }
  throw new store.CommandError(
    `ERR unknown command '${text(name!.subarray(0, 128))}', ` +
      `with args beginning with: ${shown}`,
  );
}

function wrongArity(name: string): never {
  throw new store.CommandError(
    `ERR wrong number of arguments for '${name}' command`,
  );
}

function count(keys: Uint8Array[], test: (key: string) => boolean): number {
  return keys.filter((key) => test(text(key))).length;
}

function ping(args: Uint8Array[]): Reply {
  if (args.length > 1) wrongArity("ping");
  return args[0] ?? "+PONG";
}

/** Only RESP2 is here. A client that asks for another version falls back to it. */
function hello([version, option]: Uint8Array[]): Reply {
  const problem = "ERR Protocol version is not an integer or out of range";
  if (version && store.toInteger(version, problem) !== 2n) {
    throw new store.CommandError("NOPROTO unsupported protocol version");
  }
  if (option) {
    throw new store.CommandError(
      `ERR Syntax error in HELLO option '${text(option)}'`,
    );
  }
  const fields = ["server", "redis", "version", "7.0.0", "mode", "standalone"];
  return [...fields.map(bytes), bytes("proto"), 2];
}

function describe([subcommand]: Uint8Array[]): Reply {
  switch (subcommand && text(subcommand).toUpperCase()) {
    case undefined:
      return [...commands].map(([name, [arity, lastKey]]) => {
        const firstKey = lastKey === 0 ? 0 : 1, step = firstKey;
        return [bytes(name), arity, [], firstKey, lastKey, step];
      });
    case "COUNT":
      return commands.size;
    case "DOCS":
      return [];
  }
  throw new store.CommandError(
    `ERR unknown subcommand '${
      text(subcommand!.subarray(0, 128))
    }'. Try COMMAND HELP.`,
  );
}
