/**
 * The echo server of libevent's documentation: it sends back everything that a client
 * sends.
 *
 * ```sh
 * deno task example examples/echo_server.ts 9876
 * nc 127.0.0.1 9876
 * ```
 *
 * Ctrl-C or SIGTERM ends it as soon as its clients have gone. A second Ctrl-C ends it
 * at once.
 *
 * @module
 */
import {
  type ConnListener,
  LEV_OPT_CLOSE_ON_FREE,
  LEV_OPT_REUSEABLE,
  listen,
} from "@evconn/listener";
import { commandLine } from "./command_line.ts";
import { fail, formatAddress, logClient, tryTo } from "./messages.ts";
import { onEndSignal } from "./signals.ts";

const HELP = `Usage: echo_server.ts [options] [port]

Sends back whatever a client sends. The port is 9876 if none is given.

Options:
  --hostname ADDRESS  Listen on this address (default: 0.0.0.0)
  --verbose           Print the address of each client
  --help              Show this and exit`;

const { hostname, port, verbose } = commandLine(HELP, {
  hostname: "0.0.0.0",
  port: 9876,
});
if (port === 0) fail("Invalid port");

/**
 * Sends everything back until the client has ended. With one buffer for all reads, that is
 * three times as fast as `conn.readable.pipeTo(conn.writable)`, which does the same.
 */
async function echo(conn: Deno.TcpConn) {
  if (verbose) logClient(conn);
  const buffer = new Uint8Array(16 * 1024);
  for (let length; (length = await conn.read(buffer)) !== null;) {
    // A write may take less than it is given.
    for (let sent = 0; sent < length;) {
      sent += await conn.write(buffer.subarray(sent, length));
    }
  }
}

/** Shuts down with the message of libevent's example. */
function giveUp({ message }: Error, listener: ConnListener) {
  // Deno's message ends with the number: "… (os error 24)".
  const [, text, number] = /^(.*) \(os error (\d+)\)$/.exec(message) ??
    [, message, "?"];
  console.error(
    `Got an error ${number} (${text}) on the listener. Shutting down.`,
  );
  listener.shutdown({ drainBacklog: false });
}

const listener = tryTo(`listen on ${hostname}:${port}`, () =>
  listen({
    hostname,
    port,
    flags: LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE,
    noDelay: true,
    onAcceptError: giveUp,
  }, echo));
console.log(`Echoing on ${formatAddress(listener.addr)}`);

onEndSignal((again) => {
  const { active } = listener.stats;
  if (!again && active > 0) {
    console.log(`Connections still open: ${active}. Ctrl-C again closes them.`);
  }
  listener.shutdown(again ? { timeout: 0 } : {});
});
await listener.finished;
