/**
 * Replaces a server while clients connect: two processes share the port, and the old
 * process ends when the new one listens.
 *
 * ```sh
 * deno task example examples/rolling_restart.ts --port 9876
 * ```
 *
 * It replaces the server ten times with `shutdown()`, and ten times with a plain
 * `close()` that ends the process. Clients connect all the time. At the end it prints the
 * results of their requests. Ctrl-C ends it early, and cleanly.
 *
 * With `SO_REUSEPORT` Linux gives each connection to one of the sockets when it begins.
 * When a socket is closed, Linux resets the connections that are still in its queue.
 * `shutdown()` accepts these first. It cannot accept clients that connect between its
 * last look into the queue and the end of the socket. With the sysctl
 * `net.ipv4.tcp_migrate_req=1` Linux (5.14 and later) gives these to the other socket. The
 * example prints its value.
 *
 * @module
 */
import { commandLine } from "./command_line.ts";
import { fail } from "./messages.ts";
import { ask, type Counts } from "./rolling/clients.ts";
import { onEndSignal } from "./signals.ts";

const HELP = `Usage: rolling_restart.ts [options]

Replaces a server while clients connect, and counts their requests.

Options:
  --port N      Listen on this port (default: 9876)
  --restarts N  Number of restarts (default: 10)
  --clients N   Number of clients at a time, up to 1000 (default: 8)
  --verbose     Print the address of each client on stderr
  --help        Show this and exit`;

const options = commandLine(HELP, {
  port: 9876,
  restarts: "10",
  clients: "8",
});
const { port, verbose } = options;
const restarts = Number(options.restarts), clients = Number(options.clients);
const isCount = (n: number) => Number.isSafeInteger(n) && n > 0;
if (port === 0) fail("Invalid port");
if (!(isCount(restarts) && isCount(clients) && clients <= 1000)) {
  fail("--restarts and --clients take a positive number, 1000 clients at most");
}

const SERVER = import.meta.resolve("./rolling/server.ts");
const HOSTNAME = "127.0.0.1";

/** How an old server ends. */
type End = "shutdown" | "close";

/** Starts a server process. Resolves when it listens. */
async function start(end: End): Promise<Deno.ChildProcess> {
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "--quiet", "--no-lock", "--allow-net", "--unstable-net"],
      ...[SERVER, HOSTNAME, `${port}`, end, ...(verbose ? ["verbose"] : [])],
    ],
    stdin: "null",
    stdout: "piped",
    detached: true, // Ctrl-C in the terminal must not end it
  }).spawn();
  const reader = child.stdout.getReader();
  const { done } = await reader.read();
  await reader.cancel();
  if (done) throw new Error("The server did not start");
  return child;
}

/** Whether Linux gives connections to the other socket when one is closed. */
function migrates(): string {
  try {
    return Deno.readTextFileSync("/proc/sys/net/ipv4/tcp_migrate_req").trim();
  } catch {
    return "not readable";
  }
}

/** Replaces the server so many times while clients connect. */
async function roll(end: End, interrupted: AbortSignal): Promise<Counts> {
  const counts = { answered: 0, reset: 0, unanswered: 0, refused: 0 };
  let server = await start(end);
  const over = new AbortController();
  const asking = Array.from(
    { length: clients },
    () => ask({ hostname: HOSTNAME, port }, counts, over.signal),
  );
  try {
    for (let i = 0; i < restarts && !interrupted.aborted; i++) {
      const old = server;
      server = await start(end);
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

console.log(`net.ipv4.tcp_migrate_req is ${migrates()}`);
const interrupted = new AbortController();
onEndSignal(() => interrupted.abort());
for (const end of ["shutdown", "close"] as const) {
  if (interrupted.signal.aborted) break;
  try {
    const counts = await roll(end, interrupted.signal);
    const figures = Object.entries(counts)
      .map(([name, count]) => `${count} ${name}`);
    console.log(`${end}(): ${figures.join(", ")}`);
  } catch (error) {
    fail((error as Error).message);
  }
}
