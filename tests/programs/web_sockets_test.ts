/** examples/http/web_sockets.ts, in this process. */
import { assertEquals, assertMatch } from "@std/assert";
import { listen, type ListenerOptions } from "@evconn/listener";
import { serveNode } from "@evconn/listener/node";
import { createServer } from "node:http";
import { serveWebSockets } from "../../examples/http/web_sockets.ts";
import { connect, readAll, until } from "../helpers/clients.ts";
import { closing, openSocket, send, UPGRADE } from "../helpers/http_clients.ts";

/** A server of `node:http` on a listener, which ends with the test. */
function serve(options: ListenerOptions = {}) {
  const server = createServer();
  const listener = listen(
    { hostname: "127.0.0.1", port: 0, ...options },
    serveNode(server),
  );
  return {
    server,
    listener,
    async [Symbol.asyncDispose]() {
      await listener.shutdown({ timeout: 0 });
    },
  };
}

Deno.test("serveWebSockets() pings clients, so that they are not idle", async () => {
  await using test = serve({ idleTimeout: 400 });
  const { server, listener } = test;
  let pongs = 0;
  const options = { signal: listener.signal, pingEvery: 20 };
  serveWebSockets(server, options, (socket) => {
    socket.on("pong", () => pongs++);
  });
  const socket = await openSocket({
    url: `http://127.0.0.1:${listener.addr.port}/`,
  });
  await until(() => pongs === 60);
  assertEquals(listener.stats.timedOut, 0);
  const closed = closing(socket);
  await Promise.all([listener.shutdown(), closed]);
  assertEquals((await closed).code, 1001);
});

Deno.test("serveWebSockets() takes no new one while the server drains", async () => {
  await using test = serve();
  const { server, listener } = test;
  const options = { signal: listener.signal, pingEvery: 1000 };
  serveWebSockets(server, options, () => {});
  using conn = await connect(listener);
  await until(() => listener.stats.active === 1);
  const ended = listener.shutdown();
  await send(conn, UPGRADE);
  assertMatch(await readAll(conn), /^HTTP\/1.1 503 /);
  await ended;
});
