/**
 * Starts HAProxy and two servers behind it, and restarts the servers one after the other
 * while clients connect. No client is lost.
 *
 * ```sh
 * deno task example examples/behind_haproxy/restart_under_load.ts
 * ```
 *
 * If a client is lost, the program ends with an error. Ctrl-C ends it early, and cleanly.
 *
 * @module
 */
import { commandLine } from "../command_line.ts";
import { fail } from "../messages.ts";
import { onEndSignal } from "../signals.ts";
import { Clients } from "./clients.ts";
import { Haproxy, Server } from "./processes.ts";

const HELP = `Usage: restart_under_load.ts [options]

Restarts two servers behind HAProxy while clients connect, and counts the clients.

Options:
  --port N      HAProxy's port; the servers have the two after it (default: 9876)
  --restarts N  How often each server is restarted, up to 10 (default: 3)
  --clients N   Number of clients at a time, up to 100 (default: 8)
  --verbose     Print the address of each client
  --help        Show this and exit`;

const options = commandLine(HELP, {
  port: 9876,
  restarts: "3",
  clients: "8",
});
const { port, verbose } = options;
const restarts = Number(options.restarts), clients = Number(options.clients);
const isCount = (n: number, max: number) =>
  Number.isSafeInteger(n) && n > 0 && n <= max;
if (!isCount(port, 65533)) fail("Invalid port");
if (!isCount(restarts, 10)) fail("--restarts takes a number from 1 to 10");
if (!isCount(clients, 100)) fail("--clients takes a number from 1 to 100");

/** HAProxy and two servers behind it. */
class Service implements AsyncDisposable {
  readonly #ports: readonly [number, number];
  readonly #servers: Server[];
  readonly #haproxy: Haproxy;
  readonly #logged = new Set<number>();

  constructor(port: number) {
    this.#ports = [port + 1, port + 2];
    const [SERVER_A_PORT, SERVER_B_PORT] = this.#ports;
    this.#haproxy = new Haproxy({ PORT: port, SERVER_A_PORT, SERVER_B_PORT });
    this.#servers = this.#ports.map((port) => new Server(port, verbose));
  }

  /** Resolves when HAProxy sends clients to both servers. */
  async isThere(): Promise<void> {
    const all = this.#servers.map(({ inService }) => inService);
    await Promise.race([Promise.all(all), this.#haproxy.ended]);
  }

  /** Ends one of the servers, and starts it again. */
  async restart(which: number): Promise<void> {
    await this.#end(this.#servers[which]!);
    this.#servers[which] = new Server(this.#ports[which]!, verbose);
    await this.isThere();
  }

  /** Ends both servers, and returns the ports of all clients, from the logs. */
  async end(): Promise<ReadonlySet<number>> {
    await Promise.all(this.#servers.map((server) => this.#end(server)));
    return this.#logged;
  }

  async #end(server: Server): Promise<void> {
    await server.end();
    for (const port of server.clients) this.#logged.add(port);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of this.#servers) server[Symbol.dispose]();
    await this.#haproxy[Symbol.asyncDispose]();
  }
}

/** Restarts the servers while clients connect, and prints the results. */
async function run(interrupted: AbortSignal): Promise<boolean> {
  await using service = new Service(port);
  await service.isThere();
  const crowd = new Clients();
  const over = new AbortController();
  const coming = Array.from(
    { length: clients },
    () => crowd.keepComing(port, over.signal),
  );
  let restarted = 0;
  try {
    for (; restarted < 2 * restarts; restarted++) {
      if (interrupted.aborted) break;
      await service.restart(restarted % 2);
    }
  } finally {
    over.abort();
    await Promise.all(coming);
  }
  const logged = await service.end();
  const known = crowd.ports.filter((port) => logged.has(port)).length;
  const { answered, lost } = crowd;
  console.log(`${restarted} restarts: ${answered} answered, ${lost} lost`);
  console.log(`The servers have logged ${known} of ${crowd.ports.length}`);
  return lost === 0;
}

const interrupted = new AbortController();
onEndSignal(() => interrupted.abort());
try {
  if (!await run(interrupted.signal)) Deno.exitCode = 1;
} catch (error) {
  fail(
    error instanceof Deno.errors.NotFound
      ? "HAProxy is not installed: apt-get install haproxy"
      : (error as Error).message,
  );
}
