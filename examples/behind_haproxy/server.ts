/**
 * An echo server that runs behind HAProxy. It prints the addresses of its clients, and
 * ends without losing one of them.
 *
 * ```sh
 * deno task example examples/behind_haproxy/server.ts 9877
 * ```
 *
 * Connections that do not come from HAProxy are rejected. `README.md` says how to start
 * both.
 *
 * SIGTERM or Ctrl-C ends it in three steps. First it answers "down" to the health check.
 * When HAProxy sends no more clients, or has not checked for five seconds, the listener
 * shuts down. When the last client has gone, the process ends. A second signal ends it at
 * once.
 *
 * @module
 */
import { listen, proxyHeader } from "@evconn/listener";
import { fail, formatAddress, logClient, tryTo } from "../messages.ts";
import { onEndSignal } from "../signals.ts";
import { Health } from "./health.ts";

const HELP = `Usage: server.ts [port]

Sends back what HAProxy's clients send, and prints their addresses. The port is
9877 if none is given.`;

/** The address of HAProxy. Only HAProxy may send PROXY headers. */
const PROXY = "127.0.0.1";

/** How long to wait for HAProxy before shutting down, in ms: HAProxy may have ended. */
const PATIENCE = 5_000;

const health = new Health();

async function serve(conn: Deno.TcpConn): Promise<void> {
  if (proxyHeader(conn)?.command === "LOCAL") return health.answer(conn);
  logClient(conn);
  await conn.readable.pipeTo(conn.writable);
}

/** Parses the port, the only argument. `--verbose` changes nothing: clients are always printed. */
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
