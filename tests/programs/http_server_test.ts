/** examples/http_server.ts, with the clients of its users. */
import {
  assert,
  assertEquals,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import { isClosed, readAll } from "../helpers/clients.ts";
import { type Process, run, startExample } from "../helpers/example_process.ts";
import {
  closing,
  get,
  openSocket,
  readUntil,
  send,
  UPGRADE,
} from "../helpers/http_clients.ts";
import { HAS_SIGNALS } from "../helpers/machine.ts";
import { missing } from "../helpers/missing.ts";

const ENV = "--allow-env=WS_NO_BUFFER_UTIL,WS_NO_UTF_8_VALIDATE";
/** A request whose answer begins when its body does. */
const POST =
  "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nConnection: keep-alive\r\n\r\n";
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

function nextMessage(socket: WebSocket): Promise<unknown> {
  return new Promise((resolve) => socket.onmessage = (e) => resolve(e.data));
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

Deno.test("the HTTP server survives what clients do to it", {
  ignore: !HAS_SIGNALS,
}, async () => {
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

Deno.test(
  "the HTTP server drains: what is idle ends after a second, what is busy is answered",
  { ignore: !HAS_SIGNALS },
  async () => {
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
    assertMatch(
      answer,
      /^HTTP\/1.1 200 .*\r\nConnection: close\r\n.*abcd\r\n/s,
    );
    await send(answering, "cd");
    assertMatch(await readAll(answering), /cd\r\n/);
    idle.close();
    const ended = await server.process.output();
    assertEquals([ended.code, ended.stderr], [0, ""]);
    assertStringIncludes(ended.stdout, "Ended: 4, cut off: 0");
  },
);

Deno.test(
  "the HTTP server waits for a request that has begun, not for a client that says nothing",
  { ignore: !HAS_SIGNALS },
  async () => {
    await using server = await start();
    using silent = await server.connect();
    const half = await server.connect();
    await send(half, "GET / HT");
    using known = await server.connect();
    await get(known); // the others have been accepted
    server.process.kill("SIGTERM");
    assertEquals(await isClosed(silent), true);
    await send(half, "TP/1.1\r\nHost: a\r\n\r\n");
    assertMatch(await readAll(half), /Connection: close.*hello, 127.0.0.1\n$/s);
    const { code, stdout } = await server.process.output();
    assertEquals(code, 0);
    assertStringIncludes(stdout, "Ended: 3, cut off: 0");
  },
);

Deno.test("the HTTP server ends at once on a second signal", {
  ignore: !HAS_SIGNALS,
}, async () => {
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

Deno.test("the HTTP server refuses what is no limit", async () => {
  for (const option of ["--max", "--max-per-peer"]) {
    for (const value of ["0", "-1", "1.5", "1e3", "many", ""]) {
      const { code, stderr } = await startExample(
        "http_server",
        [option, value],
        [ENV],
      ).output();
      assertEquals([value, code, stderr], [value, 1, `Invalid ${option}\n`]);
    }
  }
});
