/**
 * An echo server for behind HAProxy: it logs who its clients are, and leaves without
 * losing one of them.
 *
 * ```sh
 * deno task example examples/behind_haproxy/server.ts 9877
 * ```
 *
 * SIGTERM or Ctrl-C ends it in three steps: the health check is told "down"; when
 * HAProxy sends nobody here any more, the listener shuts down; when the last client
 * has gone, the process ends. A second signal ends it at once.
 *
 * @module
 */
import { listen, proxyHeader } from "@evconn/listener";
import { formatAddress, logClient, tryTo } from "../messages.ts";
import { onEndSignal } from "../signals.ts";
import { Health } from "./health.ts";

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

// What --verbose does elsewhere, this server does anyway.
const port = Number(Deno.args.find((arg) => arg !== "--verbose") ?? 9877);
const listener = tryTo(`listen on port ${port}`, () =>
  listen({
    hostname: "127.0.0.1",
    port,
    noDelay: true,
    proxyProtocol: (proxy) => proxy.hostname === PROXY,
  }, serve));
console.log(`listening on ${formatAddress(listener.addr)}`);
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
