/**
 * The echo server over TLS. On SIGHUP it reads the certificate again: a new listener
 * takes over the port, and the old one is drained.
 *
 * ```sh
 * deno task example examples/tls_echo_server.ts \
 *   --cert tests/testdata/localhost.crt --key tests/testdata/localhost.key 8443
 * openssl s_client -quiet -connect 127.0.0.1:8443
 * ```
 *
 * The certificate of this command is self-signed: openssl says so, and goes on.
 *
 * Both listeners share the port for a moment. Only Linux lets them.
 *
 * Ctrl-C or SIGTERM ends it as soon as its clients have gone. A second Ctrl-C ends it
 * at once.
 *
 * @module
 */
import {
  type ConnListener,
  LEV_OPT_REUSEABLE_PORT,
  listenTls,
} from "@evconn/listener";
import { commandLine } from "./command_line.ts";
import { formatAddress, logClient, tryTo } from "./messages.ts";
import { onEndSignal } from "./signals.ts";

const HELP = `Usage: tls_echo_server.ts [options] [port]

Sends back over TLS whatever a client sends. The port is 8443 if none is given.
SIGHUP reads the certificate and the key again, for new connections.

Options:
  --cert FILE         The certificate, PEM (default: cert.pem)
  --key FILE          Its private key, PEM (default: key.pem)
  --hostname ADDRESS  Listen on this address (default: 0.0.0.0)
  --verbose           Print the address of each client
  --help              Show this and exit`;

const { hostname, port, cert, key, verbose } = commandLine(HELP, {
  hostname: "0.0.0.0",
  port: 8443,
  cert: "cert.pem",
  key: "key.pem",
});

/** Sends back what comes in until the client has sent everything. */
function echo(conn: Deno.TlsConn) {
  if (verbose) logClient(conn);
  return conn.readable.pipeTo(conn.writable);
}

/** Listens with what the files hold now, beside whoever listens already. */
function start(port: number): ConnListener<Deno.TlsConn> {
  return listenTls({
    hostname,
    port,
    cert: Deno.readTextFileSync(cert),
    key: Deno.readTextFileSync(key),
    flags: LEV_OPT_REUSEABLE_PORT,
    // A line is enough for who does not speak TLS.
    onConnectionError: (error, conn) =>
      console.error(`${conn.remoteAddr.hostname}: ${error}`),
  }, echo);
}

// Sockets with LEV_OPT_REUSEABLE_PORT share a port with any other that has it. A plain
// one does not, and finds out whether the port is in use.
tryTo(
  `listen on ${hostname}:${port}`,
  () => Deno.listen({ hostname, port }).close(),
);
let listener = tryTo(`start on ${hostname}:${port}`, () => start(port));
const { addr } = listener;
console.log(`Echoing over TLS on ${formatAddress(addr)}`);

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
