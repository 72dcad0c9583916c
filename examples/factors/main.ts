/**
 * A service that computes on every core: it answers each number with its prime
 * factors. What each worker does is in `worker.ts`.
 *
 * ```sh
 * deno task example examples/factors/main.ts 9876
 * echo 1234567890123 | nc -N 127.0.0.1 9876
 * ```
 *
 * While one worker computes, the others serve new clients. SIGHUP replaces the workers,
 * as in `parallel_echo/`.
 *
 * Ctrl-C or SIGTERM ends it as soon as its clients have gone. A second Ctrl-C ends it
 * at once.
 *
 * @module
 */
import { runWorkers } from "../run_workers.ts";

const HELP = `Usage: main.ts [options] [port]

Answers each line, a number, with its prime factors. The port is 9876 if none is
given.

Options:
  --hostname ADDRESS  Listen on this address (default: 127.0.0.1)
  --workers NUMBER    Serve with so many threads (default: one for each core)
  --verbose           Print the address of each client
  --help              Show this and exit`;

await runWorkers(
  new URL("./worker.ts", import.meta.url),
  HELP,
  "Factoring on",
);
