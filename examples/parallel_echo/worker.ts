/** One of the workers: sends back what comes in. It runs on a thread of its own. */
import { serveParallel } from "@evconn/listener/parallel";
import { logClient } from "../messages.ts";
import type { Data } from "../run_workers.ts";

serveParallel<Data>((conn, _listener, { verbose }) => {
  if (verbose) logClient(conn);
  return conn.readable.pipeTo(conn.writable);
}, { noDelay: true, idleTimeout: 60_000 });
