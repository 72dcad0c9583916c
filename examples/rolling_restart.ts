/**
 * A server that is replaced while its clients keep coming: two processes share
 * the port, and the old one leaves when the new one listens.
 *
 * ```sh
 * deno run -A --unstable-net examples/rolling_restart.ts --port 9876
 * ```
 *
 * It replaces the server ten times with `shutdown()` and ten times with a plain
 * `close()` that ends the process, has clients connect without pause meanwhile,
 * and prints what became of their requests. Ctrl-C ends it early, and cleanly.
 *
 * With `SO_REUSEPORT` each connection is given to one of the sockets when it
 * begins, and Linux resets those that a socket still holds when it is closed.
 * `shutdown()` takes what has completed, so what is left is the moment between its
 * last look into the queue and the end of the socket: at most one request of each
 * client. With the sysctl `net.ipv4.tcp_migrate_req=1` Linux (5.14 and later)
 * gives those to the other socket instead. It is shown at the beginning.
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import { ask, type Counts } from "./rolling/clients.ts";

const HELP = `Usage: rolling_restart.ts [options]

Replaces a server while clients connect without pause, and counts their requests.

Options:
  --port N      Listen on this port (default: 9876)
  --restarts N  Number of restarts (default: 10)
  --clients N   Number of clients at a time, up to 1000 (default: 8)
  --help        Show this and exit`;

const SERVER = new URL("rolling/server.ts", import.meta.url).pathname;
const HOSTNAME = "127.0.0.1";

/** How an old server is ended. */
type End = "shutdown" | "close";

/** A server process that listens already. */
async function start(port: number, end: End): Promise<Deno.ChildProcess> {
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "--quiet", "--no-lock", "--allow-net", "--unstable-net"],
      ...[SERVER, HOSTNAME, `${port}`, end],
    ],
    stdin: "null",
    stdout: "piped",
    detached: true, // a Ctrl-C in the terminal is not for it
  }).spawn();
  const reader = child.stdout.getReader();
  const { done } = await reader.read();
  await reader.cancel();
  if (done) throw new Error("The server did not start");
  return child;
}

/** Whether Linux gives connections to the other socket when it closes one. */
function migrates(): string {
  try {
    return Deno.readTextFileSync("/proc/sys/net/ipv4/tcp_migrate_req").trim();
  } catch {
    return "not readable";
  }
}

/** Replaces the server so many times among clients that keep coming. */
async function roll(
  options: { port: number; restarts: number; clients: number },
  end: End,
  interrupted: AbortSignal,
): Promise<Counts> {
  const { port, restarts, clients } = options;
  const counts = { answered: 0, reset: 0, unanswered: 0, refused: 0 };
  let server = await start(port, end);
  const over = new AbortController();
  const asking = Array.from(
    { length: clients },
    () => ask({ hostname: HOSTNAME, port }, counts, over.signal),
  );
  try {
    for (let i = 0; i < restarts && !interrupted.aborted; i++) {
      const old = server;
      server = await start(port, end);
      old.kill("SIGTERM");
      await old.status;
    }
  } finally {
    over.abort();
    await Promise.all(asking);
    server.kill("SIGTERM");
    await server.status;
  }
  return counts;
}

function fail(message: string): never {
  console.error(message);
  Deno.exit(1);
}

const args = parseArgs(Deno.args, {
  boolean: ["help"],
  string: ["port", "restarts", "clients"],
  default: { port: "9876", restarts: "10", clients: "8" },
  unknown: (arg) => fail(`Unknown option: ${arg}`),
});
if (args.help) {
  console.log(HELP);
  Deno.exit();
}
const port = Number(args.port);
const restarts = Number(args.restarts), clients = Number(args.clients);
const isCount = (n: number) => Number.isSafeInteger(n) && n > 0;
if (!(isCount(port) && port <= 65535)) fail("Invalid port");
if (!(isCount(restarts) && isCount(clients) && clients <= 1000)) {
  fail("--restarts and --clients take a positive number, 1000 clients at most");
}

console.log(`net.ipv4.tcp_migrate_req is ${migrates()}`);
const interrupted = new AbortController();
const interrupt = () => interrupted.abort();
Deno.addSignalListener("SIGINT", interrupt);
Deno.addSignalListener("SIGTERM", interrupt);
for (const end of ["shutdown", "close"] as const) {
  if (interrupted.signal.aborted) break;
  try {
    const options = { port, restarts, clients };
    const counts = await roll(options, end, interrupted.signal);
    const figures = Object.entries(counts)
      .map(([name, count]) => `${count} ${name}`);
    console.log(`${end}(): ${figures.join(", ")}`);
  } catch (error) {
    fail((error as Error).message);
  }
}
Deno.removeSignalListener("SIGINT", interrupt);
Deno.removeSignalListener("SIGTERM", interrupt);
