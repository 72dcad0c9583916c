/** Node's cluster: the first process accepts, and gives connections to the others. */
import cluster from "node:cluster";
import net from "node:net";
import process from "node:process";
import { newWork } from "./work.mjs";

const [count, us, port] = process.argv.slice(2).map(Number);

if (cluster.isPrimary) { for (let i = 0; i < count; i++) cluster.fork(); }
else {
  const work = newWork(us);
  net.createServer((socket) => {
    socket.on("data", () => {
      work();
      socket.write("+PONG\r\n");
    });
    socket.on("error", () => {});
  }).listen(port, "127.0.0.1");
}
