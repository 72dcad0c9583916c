/**
 * The echo server of libevent's documentation: everything that a client sends
 * comes back.
 *
 * ```sh
 * deno run --allow-net examples/echo_server.ts 9876
 * ```
 *
 * Ctrl-C or SIGTERM ends it when the clients that are connected have gone; a
 * second one ends it at once.
 *
 * @module
 */
import {
  LEV_OPT_CLOSE_ON_FREE,
  LEV_OPT_REUSEABLE,
  listen,
} from "@evconn/listener";
import { parseArgs } from "@std/cli/parse-args";
import { onEndSignal } from "./signals.ts";

const HELP = `Usage: echo_server.ts [options] [port]

Sends back whatever a client sends. The port is 9876 if none is given.

Options:
  --hostname ADDRESS  Listen on this address (default: 0.0.0.0)
  --help              Show this and exit`;

function fail(message: string): never {
  console.error(message);
  Deno.exit(1);
}

const args = parseArgs(Deno.args, {
  string: ["hostname", "_"],
  boolean: ["help"],
  default: { hostname: "0.0.0.0" },
  unknown: (arg) => {
    if (/^-\d/.test(arg)) fail("Invalid port");
    if (arg.startsWith("-")) fail(`Unknown option: ${arg}`);
  },
});
if (args.help) {
  console.log(HELP);
  Deno.exit(0);
}
const [portText = "9876", ...surplus] = args._.map(String);
if (surplus.length > 0) fail("There is one port");
const port = /^\d+$/.test(portText) ? Number(portText) : NaN;
if (!(port >= 1 && port <= 65535)) fail("Invalid port");

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

const listener = (() => {
  try {
    return listen({
      hostname: args.hostname,
      port,
      flags: LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE,
      noDelay: true,
      onAcceptError: (error, listener) => {
        // Deno's message ends with the number: "… (os error 24)".
        const [, text, number] =
          /^(.*) \(os error (\d+)\)$/.exec(error.message) ??
            [, error.message, "?"];
        console.error(
          `Got an error ${number} (${text}) on the listener. Shutting down.`,
        );
        listener.shutdown({ drainBacklog: false });
      },
    }, echo);
  } catch (error) {
    fail(
      `Cannot listen on ${args.hostname}:${port}: ${(error as Error).message}`,
    );
  }
})();
console.log(`Echoing on ${listener.addr.hostname}:${listener.addr.port}`);

onEndSignal((again) => {
  const { active } = listener.stats;
  if (!again && active > 0) {
    console.log(`Connections still open: ${active}. Ctrl-C again closes them.`);
  }
  listener.shutdown(again ? { timeout: 0 } : {});
});
await listener.finished;
