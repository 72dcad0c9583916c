/** A worker that serves TLS with the certificate that is the service's data. */
import { serveTls } from "@evconn/listener/node";
import { serveParallel } from "@evconn/listener/parallel";
import { createServer } from "node:tls";
import type { Pair } from "../tls_certificates.ts";

const server = createServer();
const serve = serveTls(
  server,
  (conn) => conn.write(new TextEncoder().encode(`${conn.serverName}`)),
);
let current: Pair | undefined;

serveParallel<Pair>((conn, listener, pair) => {
  if (pair !== current) server.setSecureContext(current = pair);
  return serve(conn, listener, undefined);
});
