/** A worker of queues.ts: accepts from its queue, and gets into trouble when it is told to. */

/** What the worker is told: first where to listen, then what to do. */
export type Order = { port: number; own: boolean } | { trouble: string };

const scope = globalThis as unknown as Worker;
let socket: Deno.TcpListener;

async function serve(port: number, own: boolean): Promise<void> {
  const how = own ? { reusePort: true } : { loadBalanced: true };
  const where = { hostname: "127.0.0.1", port, tcpBacklog: 4096, ...how };
  socket = Deno.listen(where as Deno.TcpListenOptions);
  scope.postMessage("ready");
  for await (const conn of socket) {
    conn.readable.pipeTo(conn.writable).catch(() => {}); // the client has gone
  }
}

function block(ms: number): void {
  for (const end = performance.now() + ms; performance.now() < end;);
}

/** All of them begin while it is too busy to accept anybody. */
function getInto(trouble: string): void {
  scope.postMessage("busy");
  block(trouble === "stays busy" ? 4000 : 500);
  if (trouble === "closes its listener") socket.close();
  if (trouble === "closes itself") self.close();
  if (trouble === "throws") throw new Error("thrown by a worker");
}

scope.onmessage = ({ data }: MessageEvent<Order>) => {
  if ("trouble" in data) setTimeout(() => getInto(data.trouble));
  else serve(data.port, data.own).catch(() => {});
};
