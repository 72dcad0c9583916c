/** A worker: sends back everything that a client sends. Each worker has its own thread. */
import { serveParallel } from "@evconn/listener/parallel";
import { logClient } from "../messages.ts";
import type { Data } from "../run_workers.ts";

serveParallel<Data>((conn, _listener, { verbose }) => {
  if (verbose) logClient(conn);
  return conn.readable.pipeTo(conn.writable);
}, { noDelay: true, idleTimeout: 60_000 });
