/**
 * An echo server on a socket that systemd has opened: it is started when the first
 * client comes, and the port is open while it restarts.
 *
 * ```sh
 * systemd-socket-activate -l 9876 \
 *   deno run --allow-env=LISTEN_PID,LISTEN_FDS examples/socket_activation.ts
 * ```
 *
 * Ctrl-C or SIGTERM ends it when the clients that are connected have gone; a
 * second one ends it at once.
 *
 * @module
 */
import { ConnListener } from "@evconn/listener";
import { parseArgs } from "@std/cli/parse-args";
import { NodeListener } from "./activation/node_listener.ts";
import { onEndSignal } from "./signals.ts";

const HELP = `Usage: socket_activation.ts [options]

Sends back whatever a client sends. Listens on the socket that systemd, or
systemd-socket-activate, gives it as descriptor 3.

Options:
  --help  Show this and exit`;

/** The first descriptor that systemd passes. */
const FIRST = 3;

function fail(message: string): never {
  console.error(message);
  Deno.exit(1);
}

const args = parseArgs(Deno.args, {
  boolean: ["help"],
  unknown: (arg) => fail(`Unknown option: ${arg}`),
});
if (args.help) {
  console.log(HELP);
  Deno.exit(0);
}
// The variables may be meant for the process that has started this one.
const isForUs = Deno.env.get("LISTEN_PID") === String(Deno.pid);
const count = isForUs ? Number(Deno.env.get("LISTEN_FDS")) : 0;
if (count !== 1) fail(`Needs one socket from systemd, has ${count}`);

/** Sends back what comes in until the client has sent everything. */
async function echo(conn: Deno.TcpConn) {
  const buffer = new Uint8Array(16 * 1024);
  for (let length; (length = await conn.read(buffer)) !== null;) {
    // A write may take less than it is given.
    for (let sent = 0; sent < length;) {
      sent += await conn.write(buffer.subarray(sent, length));
    }
  }
}

const socket = await NodeListener.listen({ fd: FIRST })
  .catch((error) => fail(`Cannot listen on the socket: ${error.message}`));
const listener = new ConnListener(socket, {
  maxConnections: 1000,
  overflow: "reject", // What waits is accepted all the same.
  idleTimeout: 60_000,
}, echo);
console.log(`Echoing on ${listener.addr.hostname}:${listener.addr.port}`);

onEndSignal((again) => {
  listener.shutdown(again ? { timeout: 0 } : {});
});
await listener.finished;
