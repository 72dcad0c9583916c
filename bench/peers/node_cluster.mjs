/** Node's cluster: the first process accepts, and gives connections to the others. */
import cluster from "node:cluster";
import net from "node:net";
import process from "node:process";
import { newWork } from "./work.mjs";

const [count, us, port] = process.argv.slice(2).map(Number);

/**
 * All begin to listen together: in Deno 2.9, clients that come while a process joins the
 * others may wait for ever.
 */
function start() {
  const workers = Array.from({ length: count }, () => cluster.fork());
  let waiting = count;
  cluster.on("message", () => {
    if (--waiting > 0) return;
    for (const worker of workers) worker.send("listen");
  });
}

function serve() {
  const work = newWork(us);
  const server = net.createServer((socket) => {
    socket.on("data", () => {
      work();
      socket.write("+PONG\r\n");
    });
    socket.on("error", () => {});
  });
  process.on("message", () => server.listen(port, "127.0.0.1"));
  process.send("ready");
}

if (cluster.isPrimary) start();
else serve();
