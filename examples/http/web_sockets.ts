/** WebSockets on a server of `node:http`, by npm:ws. */
import type { Server } from "node:http";
// @ts-types="./ws.d.ts"
import { type WebSocket, WebSocketServer } from "npm:ws@^8";

/** The longest message, in bytes. The default of npm:ws is 100 MB. */
const MAX_MESSAGE = 64 * 1024;
/** "Going away". */
const GOING_AWAY = 1001;
const GONE = "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n\r\n";

/**
 * Calls back for each WebSocket. Each is pinged so often, in ms, that a client which
 * is there is never idle. When the signal is aborted, all are closed with 1001.
 */
export function serveWebSockets(
  server: Server,
  { signal, pingEvery }: { signal: AbortSignal; pingEvery: number },
  onSocket: (socket: WebSocket) => void,
): void {
  const sockets = new WebSocketServer({
    noServer: true,
    maxPayload: MAX_MESSAGE,
  });
  server.on("upgrade", (request, stream, head) => {
    if (signal.aborted) {
      stream.end(GONE, () => stream.destroy()); // Nobody reads from it any more.
      return;
    }
    sockets.handleUpgrade(request, stream, head, (socket) => {
      socket.on("error", () => {}); // It is closed, and that is all.
      onSocket(socket);
    });
  });
  const timer = setInterval(() => {
    for (const socket of sockets.clients) socket.ping();
  }, pingEvery);
  signal.addEventListener("abort", () => {
    clearInterval(timer);
    for (const socket of sockets.clients) socket.close(GOING_AWAY);
  });
}
