/**
 * A server that begins in plain text and goes on with TLS when the client says
 * STARTTLS, as mail servers do: `node:tls` on a connection of the listener.
 *
 * ```sh
 * deno task example examples/starttls_server.ts --cert cert.pem --key key.pem 2525
 * openssl s_client -starttls smtp -connect 127.0.0.1:2525
 * ```
 *
 * A certificate to try it with is `tests/testdata/localhost.crt`, with `localhost.key`.
 * Ctrl-C or SIGTERM ends it when the clients that are connected have gone; a
 * second one ends it at once.
 *
 * @module
 */
import { listen } from "@evconn/listener";
import { parseArgs } from "@std/cli/parse-args";
import type { Duplex } from "node:stream";
import { createSecureContext, TLSSocket } from "node:tls";
import { ConnStream } from "./conn_stream.ts";
import { onEndSignal } from "./signals.ts";

const HELP = `Usage: starttls_server.ts [options] [port]

Speaks so much of SMTP that STARTTLS can be seen: EHLO, STARTTLS, HELP, QUIT. The
port is 2525 if none is given.

Options:
  --cert FILE         The certificate, PEM (default: cert.pem)
  --key FILE          Its private key, PEM (default: key.pem)
  --hostname ADDRESS  Listen on this address (default: 127.0.0.1)
  --help              Show this and exit`;

/** The longest line. */
const MAX_LINE = 512;
/** How long a client may say nothing, also in a handshake, in ms. */
const IDLE = 60_000;

function fail(message: string): never {
  console.error(message);
  Deno.exit(1);
}

const args = parseArgs(Deno.args, {
  string: ["cert", "key", "hostname", "_"],
  boolean: ["help"],
  default: { cert: "cert.pem", key: "key.pem", hostname: "127.0.0.1" },
  unknown: (arg) => {
    if (arg.startsWith("-")) fail(`Unknown option: ${arg}`);
  },
});
if (args.help) {
  console.log(HELP);
  Deno.exit(0);
}
const [portText = "2525", ...surplus] = args._.map(String);
if (surplus.length > 0) fail("There is one port");
const port = /^\d+$/.test(portText) ? Number(portText) : NaN;
if (!(port >= 0 && port <= 65535)) fail("Invalid port");

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
  let stream: Duplex = new ConnStream(conn);
  const ignore = () => {}; // Whoever reads from the stream is told.
  stream.on("error", ignore).write("220 localhost\r\n");
  if (await talk(stream, false)) {
    stream = new TLSSocket(stream, { isServer: true, secureContext });
    await talk(stream.on("error", ignore), true);
  }
  await new Promise<unknown>((resolve) => stream.end(resolve));
}

function start() {
  try {
    const cert = Deno.readTextFileSync(args.cert);
    const key = Deno.readTextFileSync(args.key);
    return {
      secureContext: createSecureContext({ cert, key }),
      listener: listen({
        hostname: args.hostname,
        port,
        noDelay: true,
        idleTimeout: IDLE,
        // A line is enough for who does not speak TLS.
        onConnectionError: (error, conn) =>
          console.error(`${conn.remoteAddr.hostname}: ${error}`),
      }, serve),
    };
  } catch (error) {
    fail(
      `Cannot start on ${args.hostname}:${port}: ${(error as Error).message}`,
    );
  }
}

const { secureContext, listener } = start();
console.log(`Listening on ${listener.addr.hostname}:${listener.addr.port}`);

onEndSignal((again) => {
  listener.shutdown(again ? { timeout: 0 } : {});
});
await listener.finished;
