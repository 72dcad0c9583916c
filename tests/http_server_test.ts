/** examples/http_server.ts, with the clients of its users. */
import {
  assert,
  assertEquals,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import { ConnListener, listen, type ListenerOptions } from "@evconn/listener";
import {
  createServer,
  type RequestListener,
  type ServerOptions,
} from "node:http";
import { connect as nodeConnect } from "node:net";
import { NodeListener } from "../examples/activation/node_listener.ts";
import { drainHttp, serveHttp } from "../examples/http/serve.ts";
import { serveWebSockets } from "../examples/http/web_sockets.ts";
import { connect, isClosed, readAll, until } from "./clients.ts";
import { type Process, run, startExample } from "./example_process.ts";
import { missing } from "./missing.ts";

const ENV = "--allow-env=WS_NO_BUFFER_UTIL,WS_NO_UTF_8_VALIDATE";
/** A request whose answer begins when its body does. */
const POST =
  "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nConnection: keep-alive\r\n\r\n";
const UPGRADE = [
  "GET / HTTP/1.1",
  "Host: a",
  "Connection: Upgrade",
  "Upgrade: websocket",
  "Sec-WebSocket-Version: 13",
  "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
].join("\r\n") + "\r\n\r\n";

interface Server extends AsyncDisposable {
  process: Process;
  url: string;
  connect(): Promise<Deno.TcpConn>;
}

async function start(...args: string[]): Promise<Server> {
  const process = startExample(
    "http_server",
    [...args, "0"],
    ["--allow-net=127.0.0.1", ENV],
  );
  const port = await process.port();
  return {
    process,
    url: `http://127.0.0.1:${port}/`,
    connect: () => Deno.connect({ hostname: "127.0.0.1", port }),
    [Symbol.asyncDispose]: () => process[Symbol.asyncDispose](),
  };
}

async function send(conn: Deno.Conn, text: string): Promise<void> {
  await conn.write(new TextEncoder().encode(text));
}

/** Reads until this has come. */
async function readUntil(conn: Deno.Conn, end: string): Promise<string> {
  const buffer = new Uint8Array(1024);
  let text = "";
  while (!text.includes(end)) {
    const length = await conn.read(buffer);
    if (length === null) throw new Error(`Closed after ${text}`);
    text += new TextDecoder().decode(buffer.subarray(0, length));
  }
  return text;
}

/** Asks on an open connection that stays open. */
async function get(conn: Deno.Conn): Promise<void> {
  await send(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  await readUntil(conn, "hello, 127.0.0.1\n");
}

async function openSocket({ url }: { url: string }): Promise<WebSocket> {
  const socket = new WebSocket(url.replace("http:", "ws:"));
  socket.binaryType = "arraybuffer";
  await new Promise((resolve) => socket.onopen = resolve);
  return socket;
}

function nextMessage(socket: WebSocket): Promise<unknown> {
  return new Promise((resolve) => socket.onmessage = (e) => resolve(e.data));
}

function closing(socket: WebSocket): Promise<CloseEvent> {
  return new Promise((resolve) => socket.onclose = resolve);
}

Deno.test("the HTTP server answers curl's requests on one connection", {
  ignore: missing("curl"),
}, async () => {
  await using server = await start();
  const write = ["-w", "%{http_code} %{num_connects}\n"];
  const { stdout } = await run("curl", [
    ...["-s", ...write, server.url],
    ...["--next", "-s", ...write, "--data", "abc", server.url],
  ]);
  assertEquals(stdout, "hello, 127.0.0.1\n200 1\nabc200 0\n");
});

Deno.test("the HTTP server sends 8 MB back to fetch()", async () => {
  await using server = await start();
  const body = crypto.getRandomValues(new Uint8Array(65536));
  const bytes = new Uint8Array(8 * 1024 * 1024);
  for (let i = 0; i < bytes.length; i += body.length) bytes.set(body, i);
  const response = await fetch(server.url, { method: "POST", body: bytes });
  const echoed = await response.bytes();
  assertEquals(echoed.length, bytes.length);
  assert(echoed.every((byte, i) => byte === bytes[i]));
});

Deno.test("the HTTP server answers a client that has sent its FIN", async () => {
  await using server = await start();
  const conn = await server.connect();
  await send(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  await conn.closeWrite();
  assertStringIncludes(await readAll(conn), "hello, 127.0.0.1\n");
});

Deno.test("the HTTP server sends a WebSocket's messages back, up to a length", async () => {
  await using server = await start();
  const socket = await openSocket(server);
  socket.send("hello");
  assertEquals(await nextMessage(socket), "hello");
  socket.send(new Uint8Array([1, 2, 3]));
  const data = await nextMessage(socket) as ArrayBuffer;
  assertEquals(new Uint8Array(data), new Uint8Array([1, 2, 3]));
  const closed = closing(socket);
  socket.send(new Uint8Array(64 * 1024 + 1));
  assertEquals((await closed).code, 1009);
});

Deno.test("the HTTP server says 503 to a client that has too many connections", async () => {
  await using server = await start("--max-per-peer", "1");
  using first = await server.connect();
  await get(first);
  assertMatch(await readAll(await server.connect()), /^HTTP\/1.1 503 .*close/s);
  await get(first);
});

Deno.test("the HTTP server survives what clients do to it", async () => {
  await using server = await start();
  for (const text of [POST, `${POST}ab`, "GET / HTT"]) {
    using conn = await server.connect();
    await send(conn, text);
    if (text.endsWith("ab")) await readUntil(conn, "ab\r\n"); // the rest is unread
  }
  const garbage = await server.connect();
  await send(garbage, "BLAH\r\n\r\n");
  assertMatch(await readAll(garbage), /^HTTP\/1.1 400 /);
  const socket = await openSocket(server);
  const closed = closing(socket);
  socket.close();
  await closed;
  const lost = await server.connect();
  await send(lost, UPGRADE);
  await readUntil(lost, "\r\n\r\n");
  lost.close();
  using last = await server.connect();
  await get(last);
  last.close();
  server.process.kill("SIGTERM");
  const { code, stderr } = await server.process.output();
  assertEquals([code, stderr], [0, ""]);
});

Deno.test("the HTTP server drains: what is idle ends at once, what is busy is answered", async () => {
  await using server = await start();
  const idle = await server.connect();
  await get(idle);
  const asked = await server.connect();
  await send(asked, POST);
  const answering = await server.connect();
  await send(answering, `${POST}ab`);
  await readUntil(answering, "ab\r\n");
  const socket = await openSocket(server);
  const closed = closing(socket);

  server.process.kill("SIGTERM");
  assertEquals(await isClosed(idle), true);
  const { code, wasClean } = await closed;
  assertEquals([code, wasClean], [1001, true]);

  await send(asked, "abcd");
  const answer = await readAll(asked);
  assertMatch(answer, /^HTTP\/1.1 200 .*\r\nConnection: close\r\n.*abcd\r\n/s);
  await send(answering, "cd");
  assertMatch(await readAll(answering), /cd\r\n/);
  idle.close();
  const ended = await server.process.output();
  assertEquals([ended.code, ended.stderr], [0, ""]);
  assertStringIncludes(ended.stdout, "Ended: 4, cut off: 0");
});

Deno.test("the HTTP server does not wait for a client that has said nothing", async () => {
  await using server = await start();
  using silent = await server.connect();
  using half = await server.connect();
  await send(half, "GET / HTT");
  using known = await server.connect();
  await get(known); // the others have been accepted
  server.process.kill("SIGTERM");
  const { code, stdout } = await server.process.output();
  assertEquals(code, 0);
  assertStringIncludes(stdout, "Ended: 3, cut off: 0");
  assertMatch(await readUntil(half, "\r\n\r\n"), /^HTTP\/1.1 408 /);
  assertMatch(await readUntil(silent, "\r\n\r\n"), /^HTTP\/1.1 408 /);
});

Deno.test("the HTTP server ends at once on a second signal", async () => {
  await using server = await start();
  using busy = await server.connect();
  await send(busy, `${POST}ab`);
  await readUntil(busy, "ab\r\n");
  using idle = await server.connect();
  await get(idle);
  server.process.kill("SIGTERM");
  assertEquals(await isClosed(idle), true); // the first signal has arrived
  server.process.kill("SIGINT");
  assertEquals((await server.process.output()).code, 0);
  assertEquals(await isClosed(busy), true);
});

Deno.test("the HTTP server refuses what it does not understand, and shows its help", async () => {
  for (
    const [arg, line] of [
      ["65536", "Invalid port"],
      ["--prot", "Unknown option: --prot"],
    ] as const
  ) {
    const { code, stderr } = await startExample("http_server", [arg], [ENV])
      .output();
    assertEquals([code, stderr], [1, `${line}\n`]);
  }
  const { code, stdout } = await startExample("http_server", ["--help"], [ENV])
    .output();
  assertEquals(code, 0);
  assertStringIncludes(stdout, "Usage: http_server.ts [options] [port]");
});

// Its parts, in this process.

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
    { idleTimeout: 50 },
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
  await using test = serve({ idleTimeout: 400 }, {}, () => {});
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
