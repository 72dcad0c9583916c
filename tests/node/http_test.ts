/** `node:http` on a listener's connections, and how they end. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import {
  ConnListener,
  listen,
  type ListenerOptions,
  listenTls,
} from "@evconn/listener";
import { serveNode } from "@evconn/listener/node";
import {
  createServer,
  type RequestListener,
  type ServerOptions,
} from "node:http";
import { connect as nodeConnect } from "node:net";
import { NodeListener } from "../../examples/activation/node_listener.ts";
import { CERTIFICATE } from "../helpers/certificate.ts";
import { connect, isClosed, readAll, until } from "../helpers/clients.ts";
import { get, readUntil, send, UPGRADE } from "../helpers/http_clients.ts";

const HERE = { hostname: "127.0.0.1", port: 0 };
const GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

const hello: RequestListener = (_, response) =>
  void response.end("hello, 127.0.0.1\n");

/** A server of `node:http` on a listener, which ends with the test. */
function serve(
  answer: RequestListener = hello,
  options: ListenerOptions = {},
  serverOptions: ServerOptions = {},
) {
  const server = createServer(serverOptions, answer);
  const listener = listen({ ...HERE, ...options }, serveNode(server));
  return {
    server,
    listener,
    async [Symbol.asyncDispose]() {
      await listener.shutdown({ timeout: 0 });
    },
  };
}

/** Reads one response with a body of known length: its head, and its body. */
async function response(conn: Deno.Conn): Promise<[string, string]> {
  const text = await readUntil(conn, "\r\n\r\n");
  const [head = "", start = ""] = text.split("\r\n\r\n");
  const length = Number(/content-length: (\d+)/i.exec(head)![1]);
  let body = start;
  const buffer = new Uint8Array(1024);
  while (body.length < length) {
    const read = await conn.read(buffer);
    body += new TextDecoder().decode(buffer.subarray(0, read!));
  }
  return [head, body];
}

Deno.test("serveNode() answers HTTP requests on one connection", async () => {
  await using test = serve();
  using conn = await connect(test.listener);
  for (let i = 0; i < 3; i++) await get(conn);
  assertEquals(test.listener.stats.accepted, 1);
});

Deno.test("serveNode() answers pipelined HTTP requests in order", async () => {
  await using test = serve(({ url }, response) => {
    // The first is answered last.
    setTimeout(() => response.end(url), url === "/1" ? 20 : 0);
  });
  const conn = await connect(test.listener);
  const requests = [1, 2, 3].map((i) => GET.replace("/", `/${i}`));
  await send(
    conn,
    requests.join("").replace(/\r\n$/, "Connection: close\r\n\r\n"),
  );
  assertEquals((await readAll(conn)).match(/\/\d(?!\.)/g), ["/1", "/2", "/3"]);
});

Deno.test("serveNode() sends a POST of 3 MB back", async () => {
  await using test = serve((request, response) => request.pipe(response));
  const body = new Uint8Array(3 * 1024 * 1024).fill(7);
  const answer = await fetch(`http://127.0.0.1:${test.listener.addr.port}/`, {
    method: "POST",
    body,
  });
  assertEquals(await answer.bytes(), body);
});

Deno.test("serveNode() reads on behind a body that nobody reads to its end", async () => {
  await using test = serve((request, response) => {
    if (request.method === "GET") return response.end("next");
    request.once("data", () => {
      request.pause();
      response.end("enough");
    });
  });
  using conn = await connect(test.listener);
  const length = 3 * 1024 * 1024;
  await send(
    conn,
    `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${length}\r\n\r\n`,
  );
  const sent = send(conn, "x".repeat(length) + GET);
  assertEquals((await response(conn))[1], "enough");
  assertEquals((await response(conn))[1], "next");
  await sent;
});

Deno.test("serveNode() tells node:http the client's address behind a proxy", async () => {
  await using test = serve(
    ({ socket }, response) => response.end(socket.remoteAddress),
    { proxyProtocol: true },
  );
  const conn = await connect(test.listener);
  await send(conn, "PROXY TCP4 192.0.2.1 192.0.2.2 50000 443\r\n");
  await send(conn, "GET / HTTP/1.0\r\n\r\n");
  assertMatch(await readAll(conn), /\r\n\r\n192\.0\.2\.1$/);
});

Deno.test("serveNode() and listenTls() make HTTPS", async () => {
  const server = createServer(hello);
  await using listener = listenTls(
    { ...HERE, ...CERTIFICATE },
    serveNode(server),
  );
  using conn = await Deno.connectTls({
    hostname: "localhost",
    port: listener.addr.port,
    caCerts: [CERTIFICATE.cert],
  });
  await get(conn);
  await get(conn);
  const ended = listener.shutdown();
  assertEquals(await isClosed(conn), true);
  assertEquals(await ended, { completed: 1, aborted: 0 });
});

Deno.test("serveNode() serves HTTP on a socket that node:net listens on", async () => {
  const socket = await NodeListener.listen({ host: "127.0.0.1", port: 0 });
  const serveHello = serveNode(createServer(hello));
  await using listener = new ConnListener(socket, {}, serveHello);
  using conn = await connect(listener);
  await get(conn);
  conn.close();
});

Deno.test("serveNode() keeps node:http's timeouts", async () => {
  await using test = serve(hello, {}, {
    connectionsCheckingInterval: 10,
    headersTimeout: 20,
    keepAliveTimeout: 1,
  });
  const silent = await connect(test.listener);
  assertMatch(await readAll(silent), /^HTTP\/1.1 408 /);
  using idle = await connect(test.listener);
  await get(idle);
  assert(await isClosed(idle)); // Node adds a second to keepAliveTimeout
});

Deno.test("serveNode() ends a request by idleTimeout", async () => {
  const answer = Promise.withResolvers<void>();
  await using test = serve(
    (_, response) => void answer.promise.then(() => response.end("late")),
    { idleTimeout: 50 },
  );
  const conn = await connect(test.listener);
  await send(conn, GET);
  assertEquals(await readAll(conn), "");
  assertEquals(test.listener.stats.timedOut, 1);
  answer.resolve();
});

Deno.test("serveNode() does not change the server", async () => {
  const server = createServer(hello);
  const before = Object.getOwnPropertyNames(server);
  const events = server.eventNames();
  await using listener = listen(HERE, serveNode(server));
  using conn = await connect(listener);
  await get(conn);
  assertEquals(server.listening, false);
  assertEquals(Object.getOwnPropertyNames(server), before);
  assertEquals(server.eventNames(), events);
});

for (const when of ["before", "after"]) {
  Deno.test(`serveNode() leaves a server alone that listens itself ${when} it`, async () => {
    const server = createServer(hello);
    const begin = () =>
      new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    if (when === "before") await begin();
    const listener = listen(HERE, serveNode(server));
    using conn = await connect(listener);
    await get(conn);
    if (when === "after") await begin();
    const { port } = server.address() as { port: number };
    const addr = { transport: "tcp", hostname: "127.0.0.1", port } as const;
    using own = await connect({ addr });
    await get(own);
    await Promise.all([listener.shutdown(), isClosed(conn)]);
    await get(own);
    using other = await connect({ addr });
    await get(other);
    for (const client of [own, other]) client.close();
    await new Promise((resolve) => server.close(resolve));
  });
}

Deno.test("serveNode() survives a reset of an upgraded connection", async () => {
  await using test = serve();
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

Deno.test("a drain waits a second for clients that say nothing", async () => {
  await using test = serve();
  using silent = await connect(test.listener);
  using idle = await connect(test.listener);
  await get(idle);
  await until(() => test.listener.stats.active === 2);
  const start = performance.now();
  const ended = test.listener.shutdown();
  assertEquals(await isClosed(silent), true);
  assertEquals(await isClosed(idle), true);
  assertEquals(await ended, { completed: 2, aborted: 0 });
  assert(performance.now() - start > 990);
});

Deno.test("a drain answers who asks in that second, with Connection: close", async () => {
  await using test = serve();
  const known = await connect(test.listener);
  await get(known);
  const fresh = await connect(test.listener);
  await until(() => test.listener.stats.active === 2);
  const ended = test.listener.shutdown();
  for (const conn of [known, fresh]) {
    await send(conn, GET);
    const answer = await readAll(conn);
    assertMatch(answer, /^HTTP\/1.1 200 .*\r\nConnection: close\r\n.*hello/s);
  }
  assertEquals(await ended, { completed: 2, aborted: 0 });
});

Deno.test("a drain tells who asked before it that the connection ends", async () => {
  const asked = Promise.withResolvers<void>();
  const answer = Promise.withResolvers<void>();
  await using test = serve((_, response) => {
    asked.resolve();
    answer.promise.then(() => response.end("late"));
  });
  const conn = await connect(test.listener);
  await send(conn, GET);
  await asked.promise;
  const ended = test.listener.shutdown();
  answer.resolve();
  assertMatch(await readAll(conn), /\r\nConnection: close\r\n.*late$/s);
  assertEquals(await ended, { completed: 1, aborted: 0 });
});

Deno.test("a drain ends a connection after an answer whose head was sent before", async () => {
  const more = Promise.withResolvers<void>();
  await using test = serve(
    (_, response) => {
      response.write("hello");
      more.promise.then(() => response.end());
    },
    {},
    { keepAliveTimeout: 60_000 },
  );
  using conn = await connect(test.listener);
  await send(conn, GET);
  await readUntil(conn, "hello\r\n");
  const ended = test.listener.shutdown();
  more.resolve();
  assertEquals(await ended, { completed: 1, aborted: 0 });
});

Deno.test("a drain waits for a request that has begun to come", async () => {
  await using test = serve();
  const conn = await connect(test.listener);
  await send(conn, "GET / HT");
  using idle = await connect(test.listener);
  await until(() => test.listener.stats.active === 2);
  const ended = test.listener.shutdown();
  assert(await isClosed(idle)); // the second is over
  await send(conn, "TP/1.1\r\nHost: a\r\n\r\n");
  assertMatch(await readAll(conn), /^HTTP\/1.1 200 .*Connection: close/s);
  assertEquals(await ended, { completed: 2, aborted: 0 });
});

Deno.test("a drain answers all pipelined requests, and ends with the last", async () => {
  const all = Promise.withResolvers<void>();
  await using test = serve(({ url }, response) => {
    if (url === "/3") all.resolve();
    all.promise.then(() => response.end(url));
  });
  const conn = await connect(test.listener);
  await send(conn, GET.replace("/", "/1"));
  await until(() => test.listener.stats.active === 1);
  const ended = test.listener.shutdown();
  await send(conn, GET.replace("/", "/2") + GET.replace("/", "/3"));
  const answers = await readAll(conn);
  assertEquals(answers.match(/Connection: [\w-]+/g), [
    "Connection: keep-alive",
    "Connection: keep-alive",
    "Connection: close",
  ]);
  await ended;
});

Deno.test("a drain takes an upgraded connection for nobody's", async () => {
  await using test = serve();
  const streams: NodeJS.WritableStream[] = [];
  test.server.on("upgrade", (_, stream) => {
    stream.write("upgraded");
    streams.push(stream);
  });
  using upgraded = await connect(test.listener);
  await send(upgraded, UPGRADE);
  await readUntil(upgraded, "upgraded");
  using idle = await connect(test.listener);
  await get(idle);
  const ended = test.listener.shutdown();
  assert(await isClosed(idle)); // the second is over
  streams[0]!.end("still here");
  assertEquals(await readAll(upgraded), "still here");
  await ended;
});

Deno.test("a drain loses no request of 20 clients that ask without a pause", async () => {
  await using test = serve();
  let answered = 0;
  const clients = Array.from({ length: 20 }, async () => {
    using conn = await connect(test.listener);
    for (;;) {
      await send(conn, GET);
      const [head, body] = await response(conn);
      assertEquals(body, "hello, 127.0.0.1\n");
      answered++;
      if (/^connection: close$/im.test(head)) return;
    }
  });
  await until(() => answered > 200);
  const ended = test.listener.shutdown();
  await Promise.all(clients);
  assertEquals(await ended, { completed: 20, aborted: 0 });
});
