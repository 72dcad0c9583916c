/** `net.Server`, for Node and for Deno's `node:net`. */
import net from "node:net";

net.createServer((socket) => {
  socket.on("data", () => socket.write("+PONG\r\n"));
  socket.on("error", () => {});
}).listen(Number(process.argv[2]), "127.0.0.1");
