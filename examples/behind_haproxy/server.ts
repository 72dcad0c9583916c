/**
 * An echo server for behind HAProxy: it logs who its clients are, and leaves without
 * losing one of them.
 *
 * ```sh
 * deno run --allow-net examples/behind_haproxy/server.ts 9877
 * ```
 *
 * SIGTERM or Ctrl-C ends it in three steps: the health check is told "down"; when
 * HAProxy sends nobody here any more, the listener shuts down; when the last client
 * has gone, the process ends. A second signal ends it at once.
 *
 * @module
 */
import { type ConnListener, listen, proxyHeader } from "@evconn/listener";
import { onEndSignal } from "../signals.ts";
import { Health } from "./health.ts";

/** From where HAProxy connects. Nobody else may say who the client is. */
const PROXY = "127.0.0.1";

/** How long HAProxy may take to hear that this server leaves, in ms: it may be gone itself. */
const PATIENCE = 5_000;

const health = new Health();

async function serve(conn: Deno.TcpConn): Promise<void> {
  if (proxyHeader(conn)?.command === "LOCAL") return health.answer(conn);
  console.log(`client ${conn.remoteAddr.hostname}:${conn.remoteAddr.port}`);
  await echo(conn);
}

/** Sends back what comes in until the client has sent everything. */
async function echo(conn: Deno.TcpConn): Promise<void> {
  const buffer = new Uint8Array(16 * 1024);
  for (let length; (length = await conn.read(buffer)) !== null;) {
    // A write may take less than it is given.
    for (let sent = 0; sent < length;) {
      sent += await conn.write(buffer.subarray(sent, length));
    }
  }
}

function start(port: number): ConnListener {
  try {
    return listen({
      hostname: "127.0.0.1",
      port,
      noDelay: true,
      proxyProtocol: (proxy) => proxy.hostname === PROXY,
    }, serve);
  } catch (error) {
    console.error(`Cannot listen on port ${port}: ${(error as Error).message}`);
    Deno.exit(1);
  }
}

const listener = start(Number(Deno.args[0] ?? 9877));
console.log(`listening on ${listener.addr.hostname}:${listener.addr.port}`);
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
