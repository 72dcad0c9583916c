/**
 * A chat: each line of a client is sent to all others. They wait for a client that reads
 * slowly. A client that does not read is disconnected before its lines fill the memory.
 *
 * ```sh
 * deno task example examples/chat_server.ts 9000
 * nc 127.0.0.1 9000
 * deno task example examples/chat_server.ts --unix chat.sock
 * nc -U chat.sock
 * ```
 *
 * Start `nc` in two terminals: what you type in one of them appears in the other.
 *
 * Ctrl-C or SIGTERM ends it.
 *
 * @module
 */
import { listen } from "@evconn/listener";
import { Guest } from "./chat/guest.ts";
import { commandLine } from "./command_line.ts";
import { fail, formatAddress, logClient, tryTo } from "./messages.ts";
import { onEndSignal } from "./signals.ts";

const HELP = `Usage: chat_server.ts [options] [port]

Sends each line of a client to all others. The port is 9000 if none is given.

Options:
  --hostname ADDRESS  Listen on this address (default: 127.0.0.1)
  --unix PATH         Listen on a Unix socket instead
  --verbose           Print the address of each client
  --help              Show this and exit`;

const { hostname, port, unix, verbose } = commandLine(HELP, {
  hostname: "127.0.0.1",
  port: 9000,
  unix: undefined,
});
if (unix === "") fail("--unix takes a path");

const encoder = new TextEncoder();
const guests = new Set<Guest>();

/** Sends a line to all guests but one. */
function tell(from: Guest, text: string, said: Iterable<number> = []) {
  const message = new Uint8Array([...encoder.encode(text), ...said, 10]);
  for (const guest of guests) if (guest !== from) guest.send(message);
}

async function welcome(conn: Deno.TcpConn | Deno.UnixConn) {
  if (verbose) logClient(conn);
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
    // The client has reset the connection, or was disconnected.
  }
  guest.drop();
  guests.delete(guest);
  tell(guest, `${guest.name} has left`);
}

const listener = tryTo(
  `listen on ${unix ?? `${hostname}:${port}`}`,
  () =>
    unix !== undefined
      ? listen({ transport: "unix", path: unix })
      : listen({ hostname, port, noDelay: true }),
);
console.log(`Chatting on ${formatAddress(listener.addr)}`);

onEndSignal(() => listener.close());
for await (const conn of listener) welcome(conn);
for (const guest of guests) guest.drop();
