/**
 * An echo server on a socket that systemd opens. systemd starts it when the first client
 * connects. The port stays open while it restarts.
 *
 * ```sh
 * systemd-socket-activate -l 127.0.0.1:9876 \
 *   deno run $(deno run -q offline/probe.ts) \
 *   --allow-env=LISTEN_PID,LISTEN_FDS examples/socket_activation.ts
 * nc 127.0.0.1 9876
 * ```
 *
 * systemd gives the socket to the process that it starts. So that process must be Deno
 * itself, not npx or a task. With npx, `npx -y deno@2.9.6 eval -p "Deno.execPath()"`
 * prints the path of Deno.
 *
 * Ctrl-C or SIGTERM ends it as soon as its clients have gone. A second Ctrl-C ends it
 * at once.
 *
 * @module
 */
import { ConnListener } from "@evconn/listener";
import { NodeListener } from "./activation/node_listener.ts";
import { commandLine } from "./command_line.ts";
import { fail, formatAddress, logClient, tryTo } from "./messages.ts";
import { onEndSignal } from "./signals.ts";

const HELP = `Usage: socket_activation.ts [options]

Sends back whatever a client sends. Listens on the socket that systemd, or
systemd-socket-activate, gives it as descriptor 3.

Options:
  --verbose  Print the address of each client
  --help     Show this and exit`;

/** The first descriptor that systemd passes. */
const FIRST = 3;

const { verbose, words } = commandLine(HELP, {});
if (words.length > 0) fail("It takes no port: systemd has opened the socket");
// Otherwise the variables are those of another process, which has started this one.
const isForUs = Deno.env.get("LISTEN_PID") === String(Deno.pid);
const count = isForUs ? Number(Deno.env.get("LISTEN_FDS")) : 0;
if (count !== 1) fail(`Needs one socket from systemd, has ${count}`);

/** Sends back what comes in until the client has sent everything. */
function echo(conn: Deno.TcpConn) {
  if (verbose) logClient(conn);
  return conn.readable.pipeTo(conn.writable);
}

const socket = await tryTo(
  "listen on the socket",
  () => NodeListener.listen({ fd: FIRST }),
);
const listener = new ConnListener(socket, {
  maxConnections: 1000,
  overflow: "reject", // waiting connections are accepted in any case
  idleTimeout: 60_000,
}, echo);
console.log(`Echoing on ${formatAddress(listener.addr)}`);

onEndSignal((again) => {
  listener.shutdown(again ? { timeout: 0 } : {});
});
await listener.finished;
