/** A worker: sends back everything that a client sends, within limits. */
import type { RejectReason } from "@evconn/listener";
import { serveParallel } from "@evconn/listener/parallel";
import { logClient } from "../messages.ts";
import type { Data } from "../run_workers.ts";
import { LIMITS, REJECTIONS } from "./limits.ts";

// A worker shares no variable with the main thread, so it reports each rejection.
const rejections = new BroadcastChannel(REJECTIONS);
const report = (_conn: Deno.Conn, reason: RejectReason) =>
  rejections.postMessage(reason);

serveParallel<Data>((conn, _listener, { verbose }) => {
  if (verbose) logClient(conn);
  return conn.readable.pipeTo(conn.writable);
}, { ...LIMITS, overflow: "reject", onReject: report, idleTimeout: 60_000 });
