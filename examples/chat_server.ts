/**
 * A chat: each line that somebody sends goes to everybody else. Who is slow to read
 * is waited for, and who does not read is dropped before it fills the memory.
 *
 * ```sh
 * deno run --allow-net examples/chat_server.ts 9000
 * deno run --allow-net --allow-read --allow-write examples/chat_server.ts --unix chat.sock
 * nc 127.0.0.1 9000
 * ```
 *
 * Ctrl-C or SIGTERM ends it.
 *
 * @module
 */
import { listen } from "@evconn/listener";
import { parseArgs } from "@std/cli/parse-args";
import { Guest } from "./chat/guest.ts";
import { onEndSignal } from "./signals.ts";

const HELP = `Usage: chat_server.ts [options] [port]

Sends each line to everybody else. The port is 9000 if none is given.

Options:
  --hostname ADDRESS  Listen on this address (default: 127.0.0.1)
  --unix PATH         Listen on a Unix socket instead
  --help              Show this and exit`;

function fail(message: string): never {
  console.error(message);
  Deno.exit(1);
}

const args = parseArgs(Deno.args, {
  string: ["hostname", "unix", "_"],
  boolean: ["help"],
  default: { hostname: "127.0.0.1" },
  unknown: (arg) => {
    if (arg.startsWith("-")) fail(`Unknown option: ${arg}`);
  },
});
if (args.help) {
  console.log(HELP);
  Deno.exit(0);
}
const [portText = "9000", ...surplus] = args._.map(String);
if (surplus.length > 0) fail("There is one port");
const port = /^\d+$/.test(portText) ? Number(portText) : NaN;
if (!(port >= 0 && port <= 65535)) fail("Invalid port");

const encoder = new TextEncoder();
const guests = new Set<Guest>();

/** Says a line to everybody but one. */
function tell(from: Guest, text: string, said: Iterable<number> = []) {
  const message = new Uint8Array([...encoder.encode(text), ...said, 10]);
  for (const guest of guests) if (guest !== from) guest.send(message);
}

async function welcome(conn: Deno.Conn) {
  const guest = new Guest(conn);
  guests.add(guest);
  guest.send(encoder.encode(`You are ${guest.name} of ${guests.size}\n`));
  tell(guest, `${guest.name} has come`);
  try {
    for await (const line of guest.lines()) {
      tell(guest, `${guest.name}: `, line);
      await Promise.all([...guests].map((each) => each.catchUp()));
    }
  } catch {
    // Reset, or dropped.
  }
  guest.drop();
  guests.delete(guest);
  tell(guest, `${guest.name} has left`);
}

const { unix, hostname } = args;
if (unix === "") fail("--unix takes a path");
const listener = (() => {
  try {
    return unix !== undefined
      ? listen({ transport: "unix", path: unix })
      : listen({ hostname, port, noDelay: true });
  } catch (error) {
    fail(
      `Cannot listen on ${unix ?? `${hostname}:${port}`}: ${
        (error as Error).message
      }`,
    );
  }
})();
console.log(
  `Chatting on ${
    unix ?? `${hostname}:${(listener.addr as Deno.NetAddr).port}`
  }`,
);

onEndSignal(() => listener.close());
for await (const conn of listener) welcome(conn);
for (const guest of guests) guest.drop();
