/**
 * A small Redis: strings, counters and expiry, in memory. What it speaks and knows
 * is in `redis/`; how it serves is here.
 *
 * ```sh
 * deno run --allow-net examples/redis_server.ts --port 6379
 * redis-cli set greeting hello ex 60
 * ```
 *
 * Ctrl-C or SIGTERM answers what has come and ends it; a second one ends it at once.
 *
 * @module
 */
import {
  type ConnListener,
  LEV_OPT_CLOSE_ON_FREE,
  LEV_OPT_REUSEABLE,
  listen,
} from "@evconn/listener";
import { parseArgs } from "@std/cli/parse-args";
import { onEndSignal } from "./signals.ts";
import { execute } from "./redis/commands.ts";
import { Replies } from "./redis/replies.ts";
import { ProtocolError, Requests } from "./redis/requests.ts";

const HELP = `Usage: redis_server.ts [options]

Serves strings, counters and expiry over the Redis protocol, from memory.

Options:
  --hostname ADDRESS  Listen on this address (default: 127.0.0.1)
  --port PORT         Listen on this port, 0 for any (default: 6379)
  --help              Show this and exit`;

/** Replies are written when a batch is answered, or so many bytes have come together. */
const WRITE_AT = 256 * 1024;
/** How long clients may take to fetch their last replies, in ms. */
const GRACE = 500;

function fail(message: string): never {
  console.error(message);
  Deno.exit(1);
}

const args = parseArgs(Deno.args, {
  string: ["hostname", "port", "_"],
  boolean: ["help"],
  default: { hostname: "127.0.0.1", port: "6379" },
  unknown: (arg) => fail(`Unknown argument: ${arg}`),
});
if (args.help) {
  console.log(HELP);
  Deno.exit(0);
}
const port = /^\d+$/.test(args.port) ? Number(args.port) : NaN;
if (!(port >= 0 && port <= 65535)) fail("Invalid port");

/** Answers a client batch by batch: all that has come, then one write. */
async function serve(conn: Deno.TcpConn, listener: ConnListener) {
  const requests = new Requests(), replies = new Replies();
  // A client that waits for the next command has nothing to lose at the end.
  while (await requests.read(conn)) {
    const open = await answer(requests, replies, conn);
    await replies.write(conn);
    if (!open || listener.signal.aborted) return;
  }
}

/** Whether the client is to be served any longer. */
async function answer(requests: Requests, replies: Replies, conn: Deno.Conn) {
  try {
    for (let request; (request = requests.next());) {
      if (!execute(request, replies)) return false;
      // A client that asks for much and reads little waits here.
      if (replies.length > WRITE_AT) await replies.write(conn);
    }
    return true;
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    replies.add(`-ERR Protocol error: ${error.message}`);
    return false;
  }
}

const listener = (() => {
  try {
    return listen({
      hostname: args.hostname,
      port,
      flags: LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE,
      noDelay: true,
    }, serve);
  } catch (error) {
    fail(
      `Cannot listen on ${args.hostname}:${port}: ${(error as Error).message}`,
    );
  }
})();
console.log(`Serving on ${listener.addr.hostname}:${listener.addr.port}`);

onEndSignal((again) => {
  listener.shutdown({ timeout: again ? 0 : GRACE });
});
await listener.finished;
