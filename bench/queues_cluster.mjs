/**
 * The peer of queues.ts with Node's API: `node:cluster` with two processes. It takes a
 * port, and on stdin first the trouble of one of them, then the word that ends it.
 */
import cluster from "node:cluster";
import net from "node:net";
import process from "node:process";
import { createInterface } from "node:readline";

const port = Number(process.argv[2]);

function block(ms) {
  for (const end = performance.now() + ms; performance.now() < end;);
}

/** As in queues_worker.ts. */
function getInto(trouble, server) {
  process.send("busy");
  block(trouble === "stays busy" ? 4000 : 500);
  if (trouble === "closes its listener") server.close();
  if (trouble === "closes itself") process.exit();
  if (trouble === "throws") throw new Error("thrown by a worker");
}

function serve() {
  const server = net.createServer((socket) => {
    socket.on("error", () => {}); // the client has gone
    socket.pipe(socket);
  });
  process.on("message", (trouble) => setTimeout(getInto, 0, trouble, server));
  server.listen(port, "127.0.0.1");
}

async function start() {
  const workers = [cluster.fork(), cluster.fork()];
  const listening = (worker) => new Promise((go) => worker.on("listening", go));
  await Promise.all(workers.map(listening));
  const [victim] = workers;
  victim.on("message", (word) => console.log(word)); // "busy"
  console.log("ready");
  const lines = createInterface({ input: process.stdin });
  for await (const line of lines) {
    if (line === "terminate") victim.process.kill("SIGKILL");
    else if (line === "end") process.exit();
    else victim.send(line);
  }
}

if (cluster.isPrimary) await start();
else serve();
