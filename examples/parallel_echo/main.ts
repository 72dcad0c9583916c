/**
 * The echo server on every core. What each worker does is in `worker.ts`.
 *
 * ```sh
 * deno task example examples/parallel_echo/main.ts --workers 4 9876
 * nc 127.0.0.1 9876
 * ```
 *
 * SIGHUP replaces all workers by new ones, which load `worker.ts` again. No client is
 * refused meanwhile.
 *
 * Ctrl-C or SIGTERM ends it as soon as its clients have gone. A second Ctrl-C ends it
 * at once.
 *
 * @module
 */
import { runWorkers } from "../run_workers.ts";

const HELP = `Usage: main.ts [options] [port]

Sends back whatever a client sends. The port is 9876 if none is given.

Options:
  --hostname ADDRESS  Listen on this address (default: 127.0.0.1)
  --workers NUMBER    Serve with so many threads (default: one for each core)
  --verbose           Print the address of each client
  --help              Show this and exit`;

await runWorkers(
  new URL("./worker.ts", import.meta.url),
  HELP,
  "Echoing on",
);
