/**
 * The echo server over TLS. SIGHUP reads the certificate again: a new listener
 * takes over the port, and the old one is drained.
 *
 * ```sh
 * deno run --unstable-net --allow-net --allow-read examples/tls_echo_server.ts \
 *   --cert cert.pem --key key.pem 8443
 * ```
 *
 * Two listeners share the port for a moment, which Linux alone can do. A
 * certificate to try it with is `tests/testdata/localhost.crt`, with `localhost.key`.
 *
 * Ctrl-C or SIGTERM ends it when the clients that are connected have gone; a
 * second one ends it at once.
 *
 * @module
 */
import {
  type ConnListener,
  LEV_OPT_CLOSE_ON_FREE,
  LEV_OPT_REUSEABLE_PORT,
  listenTls,
} from "@evconn/listener";
import { parseArgs } from "@std/cli/parse-args";
import { onEndSignal } from "./signals.ts";

const HELP = `Usage: tls_echo_server.ts [options] [port]

Sends back over TLS whatever a client sends. The port is 8443 if none is given.
SIGHUP reads the certificate and the key again, for new connections.

Options:
  --cert FILE         The certificate, PEM (default: cert.pem)
  --key FILE          Its private key, PEM (default: key.pem)
  --hostname ADDRESS  Listen on this address (default: 0.0.0.0)
  --help              Show this and exit`;

function fail(message: string): never {
  console.error(message);
  Deno.exit(1);
}

const args = parseArgs(Deno.args, {
  string: ["cert", "key", "hostname", "_"],
  boolean: ["help"],
  default: { cert: "cert.pem", key: "key.pem", hostname: "0.0.0.0" },
  unknown: (arg) => {
    if (arg.startsWith("-")) fail(`Unknown option: ${arg}`);
  },
});
if (args.help) {
  console.log(HELP);
  Deno.exit(0);
}
const [portText = "8443", ...surplus] = args._.map(String);
if (surplus.length > 0) fail("There is one port");
const port = /^\d+$/.test(portText) ? Number(portText) : NaN;
if (!(port >= 0 && port <= 65535)) fail("Invalid port");

/** Sends back what comes in until the client has sent everything. */
async function echo(conn: Deno.TlsConn) {
  const buffer = new Uint8Array(16 * 1024);
  for (let length; (length = await conn.read(buffer)) !== null;) {
    // A write may take less than it is given.
    for (let sent = 0; sent < length;) {
      sent += await conn.write(buffer.subarray(sent, length));
    }
  }
}

/** Listens with what the files hold now, beside whoever listens already. */
function start(port: number): ConnListener<Deno.TlsConn> {
  return listenTls({
    hostname: args.hostname,
    port,
    cert: Deno.readTextFileSync(args.cert),
    key: Deno.readTextFileSync(args.key),
    flags: LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE_PORT,
    // A line is enough for who does not speak TLS.
    onConnectionError: (error, conn) =>
      console.error(`${conn.remoteAddr.hostname}: ${error}`),
  }, echo);
}

let listener = (() => {
  try {
    return start(port);
  } catch (error) {
    fail(
      `Cannot start on ${args.hostname}:${port}: ${(error as Error).message}`,
    );
  }
})();
const { addr } = listener;
console.log(`Echoing over TLS on ${addr.hostname}:${addr.port}`);

/** The listeners that have not finished; Deno ends when there is none. */
const running = new Set<ConnListener<Deno.TlsConn>>([listener]);

function reload() {
  if (listener.signal.aborted) return;
  try {
    const old = listener;
    listener = start(addr.port);
    running.add(listener);
    // Takes what is in its queue, then waits for those that it serves.
    old.shutdown().then(() => running.delete(old));
    console.log("Using the new certificate, but for clients that wait already");
  } catch (error) {
    console.error(`Keeping the old certificate: ${(error as Error).message}`);
  }
}

Deno.addSignalListener("SIGHUP", reload);
onEndSignal((again) => {
  for (const each of running) each.shutdown(again ? { timeout: 0 } : {});
});
