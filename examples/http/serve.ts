/** HTTP on a listener's connections. */
import type { Server, ServerResponse } from "node:http";
import { ConnStream } from "../conn_stream.ts";

/** While the server drains, how long a client may take to send the head of a request, in ms. */
const LAST_CALL = 1000;

/**
 * A callback that gives each connection to a server of `node:http`, which need not
 * listen. The connection is active until it ends.
 */
export function serveHttp(
  server: Server,
): (conn: Deno.TcpConn) => Promise<void> {
  // Deno takes a server that does not listen for one that has been closed, and ends
  // its keep-alive connections.
  Object.defineProperty(server, "listening", { value: true });
  server.emit("listening"); // From now on it looks at its timeouts.
  return (conn) =>
    new Promise<void>((resolve) => {
      const stream = new ConnStream(conn);
      stream.on("error", () => {}); // The client has gone; "close" follows.
      stream.on("close", resolve);
      server.emit("connection", stream);
    });
}

/**
 * When the signal is aborted, ends idle connections at once, and the others after
 * the request that they are at.
 */
export function drainHttp(server: Server, signal: AbortSignal): void {
  const open = new Set<ServerResponse>();
  const sayClose = (response: ServerResponse) => {
    if (!response.headersSent) response.setHeader("Connection", "close");
  };
  // Before the server's own: that one may answer at once.
  server.prependListener("request", (_request, response) => {
    open.add(response);
    if (signal.aborted) sayClose(response);
    response.on("close", () => {
      open.delete(response);
      if (signal.aborted) server.closeIdleConnections();
    });
  });
  signal.addEventListener("abort", () => {
    server.closeIdleConnections();
    open.forEach(sayClose);
    // For who has connected and said nothing yet, which is not idle in Node's sense.
    // The server looks at it every `connectionsCheckingInterval`.
    server.headersTimeout = LAST_CALL;
  });
}
