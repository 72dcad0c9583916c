/**
 * HTTP and WebSockets on a listener. The listener accepts connections, with its limits
 * and its drain. `node:http` and `npm:ws` serve them.
 *
 * ```sh
 * deno task example examples/http_server.ts 8080
 * curl http://127.0.0.1:8080/
 * curl --data hello http://127.0.0.1:8080/
 * npx -y wscat --connect ws://127.0.0.1:8080/
 * ```
 *
 * GET is answered with the client's address. POST and WebSockets send back what they
 * get.
 *
 * Ctrl-C or SIGTERM ends it when the requests under way have been answered, or after
 * ten seconds. Idle clients have one more second, WebSockets are closed at once with code
 * 1001. A second Ctrl-C ends it at once.
 *
 * @module
 */
import { listen } from "@evconn/listener";
import { serveNode } from "@evconn/listener/node";
import { createServer } from "node:http";
import { commandLine } from "./command_line.ts";
import { serveWebSockets } from "./http/web_sockets.ts";
import { fail, formatAddress, logClient, tryTo } from "./messages.ts";
import { onEndSignal } from "./signals.ts";

const HELP = `Usage: http_server.ts [options] [port]

Answers GET with the client's address. Sends back what comes with POST or over a
WebSocket. The port is 8080 if none is given.

Options:
  --hostname ADDRESS  Listen on this address (default: 127.0.0.1)
  --max N             Serve so many connections at a time (default: 1000)
  --max-per-peer N    Serve so many of one client (default: 100)
  --verbose           Print the address of each client
  --help              Show this and exit`;

/** How long a client may say nothing, and take nothing, in ms. */
const IDLE = 60_000;
/** How long a drain may take, in ms. */
const PATIENCE = 10_000;
const BUSY = new TextEncoder().encode(
  "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
);

const options = commandLine(HELP, {
  hostname: "127.0.0.1",
  port: 8080,
  max: "1000",
  "max-per-peer": "100",
});
const { hostname, port, verbose } = options;
const maxConnections = parseLimit("max");
const maxConnectionsPerPeer = parseLimit("max-per-peer");

/** Reads a number of connections. */
function parseLimit(name: "max" | "max-per-peer"): number {
  const text = options[name];
  return /^[1-9]\d{0,8}$/.test(text) ? Number(text) : fail(`Invalid --${name}`);
}

const server = createServer((request, response) => {
  if (request.method === "POST") request.pipe(response);
  else response.end(`hello, ${request.socket.remoteAddress}\n`);
});
const serve = serveNode(server);
const listener = tryTo(`listen on ${hostname}:${port}`, () =>
  listen({
    hostname,
    port,
    maxConnections,
    maxConnectionsPerPeer,
    onReject: (conn) => conn.write(BUSY),
    idleTimeout: IDLE,
  }, (conn, listener) => {
    if (verbose) logClient(conn);
    return serve(conn, listener);
  }));
const { signal } = listener;
serveWebSockets(server, { signal, pingEvery: IDLE / 3 }, (socket) => {
  socket.on("message", (data, binary) => {
    socket.pause(); // What has not been sent is not heaped up.
    socket.send(data, { binary }, () => socket.resume());
  });
});
console.log(`Serving http://${formatAddress(listener.addr)}/`);

onEndSignal(async (again) => {
  const { completed, aborted } = await listener.shutdown({
    timeout: again ? 0 : PATIENCE,
  });
  if (!again) console.log(`Ended: ${completed}, cut off: ${aborted}`);
});
