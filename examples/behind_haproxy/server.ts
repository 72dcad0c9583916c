/**
 * An echo server for behind HAProxy. It prints who its clients are, and leaves without
 * losing one of them.
 *
 * ```sh
 * deno task example examples/behind_haproxy/server.ts 9877
 * ```
 *
 * Whoever comes past HAProxy is turned away. `README.md` says how to start both.
 *
 * SIGTERM or Ctrl-C ends it in three steps. The health check is told "down". When
 * HAProxy sends nobody here any more, or has not asked for five seconds, the listener
 * shuts down. When the last client has gone, the process ends. A second signal ends it
 * at once.
 *
 * @module
 */
import { listen, proxyHeader } from "@evconn/listener";
import { fail, formatAddress, logClient, tryTo } from "../messages.ts";
import { onEndSignal } from "../signals.ts";
import { Health } from "./health.ts";

const HELP = `Usage: server.ts [port]

Sends back what HAProxy's clients send, and prints who they are. The port is 9877 if
none is given.`;

/** From where HAProxy connects. Nobody else may say who the client is. */
const PROXY = "127.0.0.1";

/** How long HAProxy may take to hear that this server leaves, in ms: it may be gone itself. */
const PATIENCE = 5_000;

const health = new Health();

async function serve(conn: Deno.TcpConn): Promise<void> {
  if (proxyHeader(conn)?.command === "LOCAL") return health.answer(conn);
  logClient(conn);
  await conn.readable.pipeTo(conn.writable);
}

/** The port, which is all that there is: what --verbose does elsewhere happens anyway. */
function readPort(): number {
  const arg = Deno.args.find((arg) => arg !== "--verbose") ?? "9877";
  if (arg === "--help") {
    console.log(HELP);
    Deno.exit();
  }
  if (arg.startsWith("--")) fail(`Unknown option: ${arg}`);
  const port = /^\d+$/.test(arg) ? Number(arg) : NaN;
  return port <= 65535 ? port : fail("Invalid port");
}

const hostname = "127.0.0.1", port = readPort();
const listener = tryTo(`listen on ${hostname}:${port}`, () =>
  listen({
    hostname,
    port,
    noDelay: true,
    proxyProtocol: (proxy) => proxy.hostname === PROXY,
  }, serve));
console.log(`Listening on ${formatAddress(listener.addr)}`);
health.known.then(() => console.log("HAProxy sends clients"));

onEndSignal((again) => {
  const shutdown = () => listener.shutdown(again ? { timeout: 0 } : {});
  if (again) return shutdown();
  const timer = setTimeout(() => {
    console.log("HAProxy does not ask any more");
    shutdown();
  }, PATIENCE);
  listener.finished.then(() => clearTimeout(timer));
  health.leave();
  health.known.then(() => {
    console.log("HAProxy sends no more clients");
    clearTimeout(timer);
    shutdown();
  });
});
await listener.finished;
