/** examples/http/, in this process. */
import { assertEquals, assertMatch } from "@std/assert";
import { ConnListener, listen, type ListenerOptions } from "@evconn/listener";
import {
  createServer,
  type RequestListener,
  type ServerOptions,
} from "node:http";
import { connect as nodeConnect } from "node:net";
import { NodeListener } from "../../examples/activation/node_listener.ts";
import { drainHttp, serveHttp } from "../../examples/http/serve.ts";
import { serveWebSockets } from "../../examples/http/web_sockets.ts";
import { connect, isClosed, readAll, until } from "../helpers/clients.ts";
import { Clock } from "../helpers/clock.ts";
import {
  closing,
  get,
  openSocket,
  readUntil,
  send,
  UPGRADE,
} from "../helpers/http_clients.ts";

/** A server of `node:http` on a listener, which ends with the test. */
function serve(
  options: ListenerOptions,
  serverOptions: ServerOptions,
  answer: RequestListener,
) {
  const server = createServer(serverOptions, answer);
  const listener = listen(
    { hostname: "127.0.0.1", port: 0, ...options },
    serveHttp(server),
  );
  return {
    server,
    listener,
    async [Symbol.asyncDispose]() {
      await listener.shutdown({ timeout: 0 });
      server.close();
    },
  };
}

Deno.test("serveHttp() has the client's address behind a proxy", async () => {
  await using test = serve(
    { proxyProtocol: true },
    {},
    ({ socket }, response) => response.end(socket.remoteAddress),
  );
  const conn = await connect(test.listener);
  await send(conn, "PROXY TCP4 192.0.2.1 192.0.2.2 50000 443\r\n");
  await send(conn, "GET / HTTP/1.0\r\n\r\n");
  assertMatch(await readAll(conn), /\r\n\r\n192\.0\.2\.1$/);
});

Deno.test("serveHttp() serves on a socket that node:net listens on", async () => {
  const server = createServer((_, response) => response.end("hello"));
  const socket = await NodeListener.listen({ host: "127.0.0.1", port: 0 });
  await using listener = new ConnListener(socket, {}, serveHttp(server));
  const conn = await connect(listener);
  await send(conn, "GET / HTTP/1.0\r\n\r\n");
  assertMatch(await readAll(conn), /\r\n\r\nhello$/);
  server.close();
});

Deno.test("serveHttp() ends a connection after keepAliveTimeout", async () => {
  await using test = serve(
    {},
    { keepAliveTimeout: 1 },
    (_, response) => response.end("hello, 127.0.0.1\n"),
  );
  using conn = await connect(test.listener);
  await get(conn);
  assertEquals(await isClosed(conn), true); // Node adds a second
});

Deno.test("serveHttp() is cut off by idleTimeout in the middle of a long answer", async () => {
  const answer = Promise.withResolvers<void>();
  await using test = serve(
    { idleTimeout: 300 },
    {},
    (_, response) => void answer.promise.then(() => response.end("late")),
  );
  const conn = await connect(test.listener);
  await send(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  assertEquals(await readAll(conn), "");
  assertEquals(test.listener.stats.timedOut, 1);
  answer.resolve();
});

Deno.test("serveWebSockets() pings clients, so that they are not idle", async () => {
  using clock = new Clock();
  await using test = serve({ idleTimeout: 400 }, {}, () => {});
  const { server, listener } = test;
  let pongs = 0;
  const options = { signal: listener.signal, pingEvery: 100 };
  serveWebSockets(server, options, (socket) => {
    socket.on("pong", () => pongs++);
  });
  const socket = await openSocket({
    url: `http://127.0.0.1:${listener.addr.port}/`,
  });
  for (let i = 1; i < 12; i++) {
    clock.pass(100);
    await until(() => pongs === i);
  }
  assertEquals(listener.stats.timedOut, 0);
  const closed = closing(socket);
  await Promise.all([listener.shutdown(), closed]);
  assertEquals((await closed).code, 1001);
});

Deno.test("serveWebSockets() takes no new one while the server drains", async () => {
  await using test = serve({}, {}, () => {});
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

Deno.test("drainHttp() ends a connection when the answer that has begun is over", async () => {
  const more = Promise.withResolvers<void>();
  await using test = serve({}, { keepAliveTimeout: 60_000 }, (_, response) => {
    response.write("hello");
    more.promise.then(() => response.end());
  });
  drainHttp(test.server, test.listener.signal);
  using conn = await connect(test.listener);
  await send(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  await readUntil(conn, "hello\r\n");
  const ended = test.listener.shutdown({ timeout: 30_000 });
  more.resolve();
  assertEquals(await ended, { completed: 1, aborted: 0 });
});

Deno.test("serveHttp() survives a reset of a connection that is nobody's", async () => {
  await using test = serve({}, {}, () => {});
  const upgraded = Promise.withResolvers<void>();
  test.server.on("upgrade", (_, stream) => {
    stream.resume();
    upgraded.resolve();
  });
  const { hostname, port } = test.listener.addr;
  const socket = nodeConnect(port, hostname, () => socket.write(UPGRADE));
  await upgraded.promise;
  socket.resetAndDestroy();
  await until(() => test.listener.stats.active === 0);
});
