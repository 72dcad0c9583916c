/**
 * A small Redis: strings, counters and expiry, in memory. This file serves the clients.
 * The protocol and the commands are in `redis/`.
 *
 * ```sh
 * deno task example examples/redis_server.ts 6379
 * redis-cli set greeting hello ex 60
 * redis-cli get greeting
 * ```
 *
 * On Ctrl-C or SIGTERM it answers the requests that it has received, and ends. A second
 * Ctrl-C ends it at once.
 *
 * @module
 */
import { type ConnListener, listen } from "@evconn/listener";
import { commandLine } from "./command_line.ts";
import { formatAddress, logClient, tryTo } from "./messages.ts";
import { execute } from "./redis/commands.ts";
import { Replies } from "./redis/replies.ts";
import { ProtocolError, Requests } from "./redis/requests.ts";
import { onEndSignal } from "./signals.ts";

const HELP = `Usage: redis_server.ts [options] [port]

Serves strings, counters and expiry over the Redis protocol, from memory. The port
is 6379 if none is given, and may be 0 for any.

Options:
  --hostname ADDRESS  Listen on this address (default: 127.0.0.1)
  --port PORT         The port, as Redis's own option has it
  --verbose           Print the address of each client
  --help              Show this and exit`;

/** Replies are written at the end of a batch, or when there are so many bytes. */
const WRITE_AT = 256 * 1024;
/** How long clients may take to read their last replies, in ms. */
const GRACE = 500;

const { hostname, port, verbose } = commandLine(HELP, {
  hostname: "127.0.0.1",
  port: 6379,
});

/** Answers a client in batches: all requests that were received, then one write. */
async function serve(conn: Deno.TcpConn, listener: ConnListener) {
  if (verbose) logClient(conn);
  const requests = new Requests(), replies = new Replies();
  // A client whose requests are all answered can be disconnected.
  while (await requests.read(conn)) {
    const open = await answer(requests, replies, conn);
    await replies.write(conn);
    if (!open || listener.signal.aborted) return;
  }
}

/** Answers a batch. Returns false if the connection is to be closed. */
async function answer(requests: Requests, replies: Replies, conn: Deno.Conn) {
  try {
    for (let request; (request = requests.next());) {
      if (!execute(request, replies)) return false;
      // Backpressure: a client that reads slowly waits here.
      if (replies.length > WRITE_AT) await replies.write(conn);
    }
    return true;
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    replies.add(`-ERR Protocol error: ${error.message}`);
    return false;
  }
}

const listener = tryTo(
  `listen on ${hostname}:${port}`,
  () => listen({ hostname, port, noDelay: true }, serve),
);
console.log(`Serving on ${formatAddress(listener.addr)}`);

onEndSignal((again) => {
  listener.shutdown({ timeout: again ? 0 : GRACE });
});
await listener.finished;
