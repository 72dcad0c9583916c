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
import {
  LEV_OPT_CLOSE_ON_FREE,
  LEV_OPT_REUSEABLE_PORT,
  listen,
} from "@evconn/listener";
import { parseArgs } from "@std/cli/parse-args";

const HELP = `Usage: rolling_restart.ts [options]

Replaces a server while clients connect without pause, and counts their requests.

Options:
  --port N      Listen on this port (default: 9876)
  --restarts N  Replace the server so many times (default: 10)
  --clients N   So many clients at a time (default: 8)
  --help        Show this and exit`;

const HOSTNAME = "127.0.0.1";

/** How an old server is ended. */
type End = "shutdown" | "close";

/** Says which server it was, after a moment of work. */
async function answer(conn: Deno.TcpConn): Promise<void> {
  if (await conn.read(new Uint8Array(64)) === null) return;
  await new Promise((resolve) => setTimeout(resolve, 2));
  await conn.write(new TextEncoder().encode(`served by ${Deno.pid}\n`));
}

/** The server: one process of it. */
async function serve(port: number, end: End): Promise<void> {
  const flags = LEV_OPT_REUSEABLE_PORT | LEV_OPT_CLOSE_ON_FREE;
  const listener = listen({ hostname: HOSTNAME, port, flags }, answer);
  Deno.addSignalListener("SIGTERM", async () => {
    if (end === "shutdown") await listener.shutdown();
    else await listener.close();
    Deno.exit(); // with close(), under the hands of whoever is being served
  });
  // Ctrl-C in a terminal goes to every process; ending this one is the parent's.
  Deno.addSignalListener("SIGINT", () => {});
  console.log("listening");
  await listener.finished;
}

/** A server process that listens already. */
async function start(port: number, end: End): Promise<Deno.ChildProcess> {
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "--quiet", "--no-lock", "--allow-net", "--unstable-net"],
      ...importMap(),
      ...[import.meta.filename!, "--serve", end, "--port", `${port}`],
    ],
    stdin: "null",
    stdout: "piped",
  }).spawn();
  const reader = child.stdout.getReader();
  const { done } = await reader.read();
  await reader.cancel();
  if (done) throw new Error("The server did not start");
  return child;
}

/** Where the modules come from that have no registry to come from. */
function importMap(): string[] {
  const standIn = import.meta.resolve("@std/cli/parse-args");
  return standIn.startsWith("file:")
    ? [`--import-map=${new URL("import_map.json", standIn).pathname}`]
    : [];
}

/** Whether Linux gives connections to the other socket when it closes one. */
function migrates(): string {
  try {
    return Deno.readTextFileSync("/proc/sys/net/ipv4/tcp_migrate_req").trim();
  } catch {
    return "not to be read here";
  }
}

/** What became of the requests. */
interface Counts {
  answered: number;
  /** Connected, and reset before there was an answer. */
  reset: number;
  /** Closed in good order, but without an answer. */
  unanswered: number;
  /** Not connected at all. */
  refused: number;
}

/** A client that asks, one connection after the other, until it is told to stop. */
async function ask(
  port: number,
  counts: Counts,
  stop: AbortSignal,
): Promise<void> {
  while (!stop.aborted) {
    let connected = false;
    try {
      using conn = await Deno.connect({ hostname: HOSTNAME, port });
      connected = true;
      await conn.write(new TextEncoder().encode("who is it?\n"));
      const length = await conn.read(new Uint8Array(64));
      if (length === null) counts.unanswered++;
      else counts.answered++;
    } catch {
      if (connected) counts.reset++;
      else counts.refused++;
    }
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
    () => ask(port, counts, over.signal),
  );
  for (let i = 0; i < restarts && !interrupted.aborted; i++) {
    const old = server;
    server = await start(port, end);
    old.kill("SIGTERM");
    await old.status;
  }
  over.abort();
  await Promise.all(asking);
  server.kill("SIGTERM");
  await server.status;
  return counts;
}

function fail(message: string): never {
  console.error(message);
  Deno.exit(1);
}

const args = parseArgs(Deno.args, {
  boolean: ["help"],
  string: ["port", "restarts", "clients", "serve"],
  default: { port: "9876", restarts: "10", clients: "8" },
  unknown: (arg) => fail(`Unknown option: ${arg}`),
});
if (args.help) {
  console.log(HELP);
  Deno.exit();
}
const [port = 0, restarts = 0, clients = 0] = [
  args.port,
  args.restarts,
  args.clients,
].map(Number);
if (!(Number.isInteger(port) && port >= 1 && port <= 65535)) {
  fail("Invalid port");
}
if (!(restarts > 0 && clients > 0)) {
  fail("--restarts and --clients take a positive number");
}

if (args.serve) {
  await serve(port, args.serve === "close" ? "close" : "shutdown");
} else {
  console.log(`net.ipv4.tcp_migrate_req is ${migrates()}`);
  const interrupted = new AbortController();
  const interrupt = () => interrupted.abort();
  Deno.addSignalListener("SIGINT", interrupt);
  Deno.addSignalListener("SIGTERM", interrupt);
  for (const end of ["shutdown", "close"] as const) {
    if (interrupted.signal.aborted) break;
    const options = { port, restarts, clients };
    const counts = await roll(options, end, interrupted.signal);
    const figures = Object.entries(counts)
      .map(([name, count]) => `${count} ${name}`);
    console.log(`${end}(): ${figures.join(", ")}`);
  }
  Deno.removeSignalListener("SIGINT", interrupt);
  Deno.removeSignalListener("SIGTERM", interrupt);
}
