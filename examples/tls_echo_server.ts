/**
 * The echo server over TLS, with `serveTls()`. On SIGHUP it reads the certificate again,
 * for new connections. The socket stays, so no client is lost.
 *
 * ```sh
 * deno task example examples/tls_echo_server.ts \
 *   --cert tests/testdata/localhost.crt --key tests/testdata/localhost.key 8443
 * openssl s_client -quiet -connect 127.0.0.1:8443
 * ```
 *
 * The certificate of this command is self-signed: openssl says so, and goes on.
 *
 * Ctrl-C or SIGTERM ends it as soon as its clients have gone. A second Ctrl-C ends it
 * at once.
 *
 * @module
 */
import { listen } from "@evconn/listener";
import { serveTls } from "@evconn/listener/node";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { createServer } from "node:tls";
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

/** Reads the certificate and its key, and sees whether they fit. */
function readPair() {
  const pair = {
    cert: Deno.readTextFileSync(cert),
    key: Deno.readTextFileSync(key),
  };
  const privateKey = createPrivateKey(pair.key);
  if (new X509Certificate(pair.cert).checkPrivateKey(privateKey)) return pair;
  throw new Error("The key is not the certificate's");
}

const server = tryTo(
  `start on ${hostname}:${port}`,
  () => createServer({ ...readPair(), handshakeTimeout: 30_000 }),
);
const echo = serveTls(server, (conn) => conn.readable.pipeTo(conn.writable));
const listener = tryTo(`listen on ${hostname}:${port}`, () =>
  listen({
    hostname,
    port,
    // A line is enough for a client that has gone wrong.
    onConnectionError: (error, conn) =>
      console.error(`${conn.remoteAddr.hostname}: ${error}`),
  }, (conn, listener) => {
    if (verbose) logClient(conn);
    return echo(conn, listener, undefined);
  }));
console.log(`Echoing over TLS on ${formatAddress(listener.addr)}`);

function renew() {
  try {
    server.setSecureContext(readPair());
    console.log("Using the new certificate");
  } catch (error) {
    console.error(`Keeping the old certificate: ${(error as Error).message}`);
  }
}

if (Deno.build.os !== "windows") Deno.addSignalListener("SIGHUP", renew);
onEndSignal((again) => {
  listener.shutdown(again ? { timeout: 0 } : {});
});
await listener.finished;
