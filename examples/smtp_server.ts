/**
 * A mail server from npm. The listener has the limits. It prints what it gets.
 *
 * ```sh
 * deno task example examples/smtp_server.ts \
 *   --cert tests/testdata/localhost.crt --key tests/testdata/localhost.key 2525
 * curl --insecure --ssl-reqd smtp://127.0.0.1:2525 --mail-from me@localhost \
 *   --mail-rcpt you@localhost --upload-file LICENSE
 * ```
 *
 * Ctrl-C or SIGTERM ends it as soon as its clients have gone, and again at once.
 *
 * @module
 */
import { listen } from "@evconn/listener";
import { serveNode } from "@evconn/listener/node";
import { SMTPServer } from "npm:smtp-server@^3";
import { commandLine } from "./command_line.ts";
import { formatAddress, logClient, tryTo } from "./messages.ts";
import { onEndSignal } from "./signals.ts";

const HELP = `Usage: smtp_server.ts [options] [port]

Prints mails that come in plain text or by STARTTLS. The default port is 2525.

Options:
  --cert FILE         The certificate, PEM (default: cert.pem)
  --key FILE          Its private key, PEM (default: key.pem)
  --hostname ADDRESS  Listen on this address (default: 127.0.0.1)
  --verbose           Print the address of each client
  --help              Show this and exit`;
const defaults = { port: 2525, cert: "cert.pem", key: "key.pem" };
const options = commandLine(HELP, { hostname: "127.0.0.1", ...defaults });
const { hostname, port, verbose } = options;
const smtp = tryTo(`start on ${hostname}:${port}`, () =>
  new SMTPServer({
    cert: Deno.readTextFileSync(options.cert),
    key: Deno.readTextFileSync(options.key),
    authOptional: true,
    async onData(mail, _session, done) {
      for await (const bytes of mail) Deno.stdout.writeSync(bytes);
      done();
    },
  }));
smtp.on("error", ({ message }: Error) => console.error(message));
const serve = serveNode(smtp.server);
const limits = { maxConnections: 100, maxConnectionsPerPeer: 5 };
const listener = tryTo(
  `listen on ${hostname}:${port}`,
  () =>
    listen(
      { hostname, port, ...limits, idleTimeout: 60_000 },
      (conn, listener) => {
        if (verbose) logClient(conn);
        return serve(conn, listener);
      },
    ),
);
console.log(`Listening on ${formatAddress(listener.addr)}`);
onEndSignal((again) => void listener.shutdown(again ? { timeout: 0 } : {}));
