/**
 * A server that begins in plain text, as mail servers do. When the client says
 * STARTTLS, `node:tls` goes on with the same connection.
 *
 * ```sh
 * deno task example examples/starttls_server.ts \
 *   --cert tests/testdata/localhost.crt --key tests/testdata/localhost.key 2525
 * openssl s_client -quiet -starttls smtp -connect 127.0.0.1:2525
 * ```
 *
 * Type HELP: the answer says whether it came over TLS.
 * The certificate of this command is self-signed: openssl says so, and goes on.
 *
 * Ctrl-C or SIGTERM ends it as soon as its clients have gone. A second Ctrl-C ends it
 * at once.
 *
 * @module
 */
import { listen } from "@evconn/listener";
import { NodeSocket } from "@evconn/listener/node";
import type { Duplex } from "node:stream";
import { createSecureContext, TLSSocket } from "node:tls";
import { commandLine } from "./command_line.ts";
import { formatAddress, logClient, tryTo } from "./messages.ts";
import { onEndSignal } from "./signals.ts";

const HELP = `Usage: starttls_server.ts [options] [port]

Knows four words of SMTP: EHLO, STARTTLS, HELP and QUIT. The port is 2525 if none is
given.

Options:
  --cert FILE         The certificate, PEM (default: cert.pem)
  --key FILE          Its private key, PEM (default: key.pem)
  --hostname ADDRESS  Listen on this address (default: 127.0.0.1)
  --verbose           Print the address of each client
  --help              Show this and exit`;

/** The longest line. */
const MAX_LINE = 512;
/** How long a client may say nothing, also in a handshake, in ms. */
const IDLE = 60_000;

const { hostname, port, cert, key, verbose } = commandLine(HELP, {
  hostname: "127.0.0.1",
  port: 2525,
  cert: "cert.pem",
  key: "key.pem",
});

/** The lines that come, and whether each is the last that has come. */
async function* lines(stream: Duplex) {
  let text = "";
  for await (const chunk of stream.iterator({ destroyOnReturn: false })) {
    text += chunk.toString("latin1");
    for (let end; (end = text.indexOf("\n")) >= 0;) {
      const line = text.slice(0, end).trim();
      text = text.slice(end + 1);
      yield { line, isLast: text === "" && stream.readableLength === 0 };
    }
    if (text.length > MAX_LINE) return;
  }
}

/** Answers until the client quits, or wants TLS: then the next bytes are TLS. */
async function talk(stream: Duplex, isSecure: boolean): Promise<boolean> {
  for await (const { line, isLast } of lines(stream)) {
    switch (line.split(" ", 1)[0]!.toUpperCase()) {
      case "EHLO":
        stream.write(
          isSecure ? "250 hello\r\n" : "250-hello\r\n250 STARTTLS\r\n",
        );
        break;
      case "STARTTLS":
        // What follows it in plain text could be anybody's, and must not be taken
        // for something that the client has said in TLS.
        if (isSecure || !isLast) return false;
        stream.write("220 go ahead\r\n");
        return true;
      case "HELP":
        stream.write(`214 this is ${isSecure ? "TLS" : "plain text"}\r\n`);
        break;
      case "QUIT":
        stream.write("221 bye\r\n");
        return false;
      default:
        stream.write("500 what?\r\n");
    }
    if (stream.writableNeedDrain) return false; // it asks and does not read
  }
  return false;
}

async function serve(conn: Deno.TcpConn) {
  if (verbose) logClient(conn);
  const socket = new NodeSocket(conn);
  socket.write("220 localhost\r\n");
  let stream: Duplex = socket;
  if (await talk(socket, false)) {
    stream = new TLSSocket(socket, { isServer: true, secureContext });
    stream.on("error", () => {}); // reads from it reject with the error
    await talk(stream, true);
  }
  await new Promise<unknown>((resolve) => stream.end(resolve));
}

const secureContext = tryTo(
  `start on ${hostname}:${port}`,
  () =>
    createSecureContext({
      cert: Deno.readTextFileSync(cert),
      key: Deno.readTextFileSync(key),
    }),
);
const listener = tryTo(`listen on ${hostname}:${port}`, () =>
  listen({
    hostname,
    port,
    noDelay: true,
    idleTimeout: IDLE,
    // A line is enough for who does not speak TLS.
    onConnectionError: (error, conn) =>
      console.error(`${conn.remoteAddr.hostname}: ${error}`),
  }, serve));
console.log(`Listening on ${formatAddress(listener.addr)}`);

onEndSignal((again) => {
  listener.shutdown(again ? { timeout: 0 } : {});
});
await listener.finished;
