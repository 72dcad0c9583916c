/** TLS on a listener's connections, by `node:tls`. */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { listen, type ListenerOptions } from "@evconn/listener";
import {
  serveNode,
  serveTls,
  type ServeTlsOptions,
} from "@evconn/listener/node";
import { once } from "node:events";
import { createServer as createHttpServer } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import { connect as nodeConnect } from "node:net";
import {
  connect as nodeConnectTls,
  createSecureContext,
  createServer,
  type Server,
} from "node:tls";
import { connect, isClosed, readAll, until } from "../helpers/clients.ts";
import { QuietConsole } from "../helpers/console.ts";
import { get, send } from "../helpers/http_clients.ts";
import { AUTHORITY, pair } from "../helpers/tls_certificates.ts";
import { connectTls, isGone, startTls } from "../helpers/tls_clients.ts";

const HERE = { hostname: "127.0.0.1", port: 0 };
const ONE = pair("one.test");
const TWO = pair("two.test");
/** For clients that ask for no name. */
const ANY_NAME = { unsafelyDisableHostnameVerification: true };

const encode = (text: string) => new TextEncoder().encode(text);

/** A server that says what it knows of each client. */
function serve(
  options: Partial<ServeTlsOptions> | Server = {},
  listenerOptions: ListenerOptions = {},
) {
  return listen(
    { ...HERE, ...listenerOptions },
    serveTls(
      options instanceof Object && "emit" in options ? options : {
        ...ONE,
        ...options,
      },
      async (conn) => {
        const { alpnProtocol } = await conn.handshake();
        const { serverName, remoteAddr } = conn;
        const told = { serverName, alpnProtocol, from: remoteAddr.hostname };
        await conn.write(encode(JSON.stringify(told)));
      },
    ),
  );
}

/** What the server says to such a client. */
async function told(conn: Deno.Conn) {
  return JSON.parse(await readAll(conn));
}

Deno.test("serveTls() tells the callback the name, the protocol and the address", async () => {
  await using listener = serve({ ALPNProtocols: ["two", "one"] });
  const client = await connectTls(listener, "one.test", {
    alpnProtocols: ["one"],
  });
  assertEquals(await told(client), {
    serverName: "one.test",
    alpnProtocol: "one",
    from: "127.0.0.1",
  });
});

Deno.test("serveTls() serves a client that asks for no name", async () => {
  await using listener = serve();
  const client = await connectTls(listener, "127.0.0.1", ANY_NAME);
  assertEquals(await told(client), { alpnProtocol: null, from: "127.0.0.1" });
});

Deno.test("serveTls() has a certificate for each name by SNICallback", async () => {
  const contexts = new Map([["two.test", createSecureContext(TWO)]]);
  let calls = 0;
  await using listener = serve({
    SNICallback(name, answer) {
      calls++;
      answer(null, contexts.get(name));
    },
  });
  for (const name of ["one.test", "two.test"]) {
    const client = await connectTls(listener, name);
    assertEquals((await told(client)).serverName, name);
  }
  assertEquals(calls, 2);
  await told(await connectTls(listener, "127.0.0.1", ANY_NAME));
  assertEquals(calls, 2); // Node does not ask for the certificate of no name
});

Deno.test("serveTls() waits for a SNICallback that answers late, or twice", async () => {
  await using listener = serve({
    SNICallback(name, answer) {
      setTimeout(() => {
        answer(
          null,
          name === "two.test" ? createSecureContext(TWO) : undefined,
        );
        answer(null);
      }, 1);
    },
  });
  for (const name of ["one.test", "two.test"]) {
    const client = await connectTls(listener, name);
    assertEquals((await told(client)).serverName, name);
  }
});

Deno.test("serveTls() closes the connection when a SNICallback fails", async () => {
  const failures: NonNullable<ServeTlsOptions["SNICallback"]>[] = [
    (_, answer) => answer(new Error("an error")),
    (_, answer) => void setTimeout(() => answer(new Error("a late error")), 1),
    () => {
      throw new Error("a bug");
    },
    () => Promise.reject(new Error("a late bug")),
    (_, answer) => answer(null, {} as never),
  ];
  for (const SNICallback of failures) {
    await using listener = serve({ SNICallback });
    await assertRejects(() => connectTls(listener));
    await until(() => listener.stats.active === 0);
    assertEquals(listener.stats.connectionErrors, 0);
  }
});

Deno.test("serveTls() takes the certificate of a secureContext", async () => {
  const secureContext = createSecureContext(TWO);
  await using listener = listen(
    HERE,
    serveTls({ secureContext }, (conn) => conn.write(encode("hello"))),
  );
  assertEquals(await readAll(await connectTls(listener, "two.test")), "hello");
});

Deno.test("serveTls() takes a tls.Server, with names by addContext()", async () => {
  const server = createServer(ONE);
  server.addContext("two.test", TWO);
  await using listener = serve(server);
  for (const name of ["one.test", "two.test"]) {
    const client = await connectTls(listener, name);
    assertEquals((await told(client)).serverName, name);
  }
});

Deno.test("serveTls() has the address of a PROXY header before the handshake", async () => {
  await using listener = serve({}, { proxyProtocol: true });
  const conn = await connect(listener);
  await send(conn, "PROXY TCP4 192.0.2.1 192.0.2.2 50000 443\r\n");
  assertEquals((await told(await startTls(conn))).from, "192.0.2.1");
});

Deno.test("serveTls() takes and gives 8 MB at once, byte for byte", async () => {
  const ways = [
    (conn: Deno.Conn) => conn.readable.pipeTo(conn.writable),
    async (conn: Deno.Conn) => {
      const buffer = new Uint8Array(10_000);
      for (let length; (length = await conn.read(buffer)) !== null;) {
        await conn.write(buffer.subarray(0, length));
      }
    },
  ];
  const bytes = new Uint8Array(8 * 1024 * 1024);
  for (let i = 0; i < bytes.length; i += 65536) {
    crypto.getRandomValues(bytes.subarray(i, i + 65536));
  }
  for (const echo of ways) {
    await using listener = listen(HERE, serveTls(ONE, echo));
    const client = await connectTls(listener);
    const sent = new Blob([bytes]).stream()
      .pipeTo(client.writable, { preventClose: true })
      .then(() => client.closeWrite());
    const answer = await new Response(client.readable).bytes();
    await sent;
    assert(answer.length === bytes.length);
    assert(answer.every((byte, i) => byte === bytes[i]));
  }
});

Deno.test("serveTls()'s connections are half open, and end with close_notify", async () => {
  await using listener = listen(
    HERE,
    serveTls(ONE, async (conn) => {
      await conn.write(encode("first"));
      await conn.closeWrite();
      const buffer = new Uint8Array(100);
      let text = "";
      for (let length; (length = await conn.read(buffer)) !== null;) {
        text += new TextDecoder().decode(buffer.subarray(0, length));
      }
      assertEquals(text, "second");
    }),
  );
  const client = await connectTls(listener);
  const buffer = new Uint8Array(100);
  assertEquals(await client.read(buffer), 5);
  assertEquals(await client.read(buffer), null); // not UnexpectedEof
  await send(client, "second");
  client.close();
  await until(() => listener.stats.active === 0);
  assertEquals(listener.stats.connectionErrors, 0);
});

Deno.test("serveTls() reads no more than the callback does", async () => {
  const read = Promise.withResolvers<void>();
  let came = 0;
  await using listener = listen(
    HERE,
    serveTls(ONE, async (conn) => {
      await read.promise;
      for await (const chunk of conn.readable) came += chunk.length;
    }),
  );
  const client = await connectTls(listener);
  const chunk = new Uint8Array(65536);
  const total = 64 * 1024 * 1024;
  let sent = 0;
  const sending = (async () => {
    while (sent < total) sent += await client.write(chunk);
    await client.closeWrite();
  })();
  for (let before = -1; before !== sent && sent < total;) {
    before = sent;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  assert(sent < total / 2, `The server has taken ${sent} bytes`);
  read.resolve();
  await sending;
  assertEquals(await isGone(client), true);
  assertEquals(came, sent);
  client.close();
});

Deno.test("serveTls() lets a client go that takes nothing, when the callback has ended", async () => {
  await using listener = listen(
    HERE,
    serveTls(ONE, async (conn) => {
      conn.write(new Uint8Array(64 * 1024 * 1024)).catch(() => {});
      await conn.read(new Uint8Array(1));
    }),
  );
  using client = await connectTls(listener);
  await client.write(new Uint8Array(1));
  await until(() => listener.stats.active === 0);
  assertEquals(listener.stats.connectionErrors, 0);
});

Deno.test("serveTls() keeps a connection active until it ends, whatever the callback returns", async () => {
  let conn: Deno.TlsConn | undefined;
  await using listener = listen(
    HERE,
    serveTls(ONE, (given) => void (conn = given)),
  );
  using client = await connectTls(listener);
  await until(() => conn !== undefined);
  await conn!.write(encode("hello"));
  assertEquals(await client.read(new Uint8Array(100)), 5);
  assertEquals(listener.stats.active, 1);
  conn!.close();
  assertEquals(await client.read(new Uint8Array(100)), null);
  await until(() => listener.stats.active === 0);
  assertThrows(() => conn!.close(), Deno.errors.BadResource);
  for (
    const operation of [
      () => conn!.read(new Uint8Array(1)),
      () => conn!.write(new Uint8Array(1)),
    ]
  ) await assertRejects(operation, Deno.errors.BadResource);
});

Deno.test("serveTls() ends a read that waits when the connection is closed", async () => {
  let reading: Promise<unknown> | undefined;
  await using listener = listen(
    HERE,
    serveTls(ONE, (conn) => {
      reading = conn.read(new Uint8Array(1));
      conn.close();
      return reading;
    }),
  );
  using client = await connectTls(listener);
  assertEquals(await isClosed(client), true);
  await assertRejects(() => reading!, Deno.errors.BadResource);
  await until(() => listener.stats.active === 0);
  assertEquals(listener.stats.connectionErrors, 0);
});

Deno.test("serveTls() tells of a callback that fails, and closes the connection", async () => {
  const errors: unknown[] = [];
  const bug = new Error("a bug");
  for (
    const fail of [() => Promise.reject(bug), () => {
      throw bug;
    }]
  ) {
    await using listener = listen(
      { ...HERE, onConnectionError: (error) => errors.push(error) },
      serveTls(ONE, fail),
    );
    using client = await connectTls(listener);
    assertEquals(await isClosed(client), true);
    await until(() => listener.stats.active === 0);
  }
  assertEquals(errors, [bug, bug]);
});

Deno.test("serveTls() is quiet when a client resets, and gives null for a FIN without close_notify", async () => {
  const ends: unknown[] = [];
  await using listener = listen(
    HERE,
    serveTls(ONE, async (conn) => {
      ends.push(await conn.read(new Uint8Array(1)));
    }),
  );
  const { hostname, port } = listener.addr;
  for (const end of ["resetAndDestroy", "end"] as const) {
    const socket = nodeConnect(port, hostname);
    const tls = nodeConnectTls({
      socket,
      servername: "one.test",
      ca: AUTHORITY,
    });
    tls.on("error", () => {});
    await once(tls, "secureConnect");
    socket[end]();
    await until(() => listener.stats.active === 0);
    socket.destroy();
  }
  assertEquals(ends, [null]);
  assertEquals(listener.stats.connectionErrors, 0);
});

Deno.test("serveTls() closes clients that do not finish the handshake in time", async () => {
  using quiet = new QuietConsole();
  const options = { handshakeTimeout: 50 };
  await using listener = serve(options, { maxConnections: 4 });
  const half = new Uint8Array([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 42]);
  const silent = await connect(listener);
  const slow = await connect(listener);
  await slow.write(half);
  const garbage = await connect(listener);
  await garbage.write(encode("GET / HTTP/1.0\r\n\r\n"));
  for (const client of [silent, slow]) assertEquals(await readAll(client), "");
  const alert = await new Response(garbage.readable).bytes();
  assertEquals(alert[0], 0x15);
  await until(() => listener.stats.active === 0);
  assertEquals(listener.stats.connectionErrors, 0);
  assertEquals(quiet.errors, []);
  await told(await connectTls(listener));
});

Deno.test("serveTls() waits a second for handshakes when the listener ends", async () => {
  await using listener = serve();
  using silent = await connect(listener);
  const late = await connect(listener);
  await until(() => listener.stats.active === 2);
  const start = performance.now();
  const ended = listener.shutdown();
  assertEquals((await told(await startTls(late))).serverName, "one.test");
  assertEquals(await isClosed(silent), true);
  assertEquals(await ended, { completed: 2, aborted: 0 });
  assert(performance.now() - start < 29_000); // handshakeTimeout is 30 s
});

Deno.test("serveTls() is cut off by idleTimeout, in the handshake and after it", async () => {
  await using listener = listen(
    { ...HERE, idleTimeout: 50 },
    serveTls(ONE, async (conn) => {
      await assertRejects(
        () => conn.read(new Uint8Array(1)),
        Deno.errors.TimedOut,
      );
    }),
  );
  using silent = await connect(listener);
  using client = await connectTls(listener);
  assertEquals(await isGone(silent), true);
  assertEquals(await isGone(client), true);
  await until(() => listener.stats.active === 0);
  const { timedOut, connectionErrors } = listener.stats;
  assertEquals([timedOut, connectionErrors], [2, 0]);
});

const address = createHttpServer(({ socket }, response) => {
  response.end(`hello, ${socket.remoteAddress}\n`);
});

Deno.test("serveTls() and serveNode() make HTTPS of a server of node:http", async () => {
  await using listener = listen(HERE, serveTls(ONE, serveNode(address)));
  const client = await connectTls(listener);
  await get(client);
  await get(client);
  const ended = listener.shutdown();
  assertEquals(await isClosed(client), true);
  assertEquals(await ended, { completed: 1, aborted: 0 });
  client.close();
});

Deno.test("serveNode() serves a server of node:https, and one of node:tls", async () => {
  const https = createHttpsServer(ONE, ({ socket }, response) => {
    response.end(`hello, ${socket.remoteAddress}\n`);
  });
  const echo = createServer(ONE, (socket) => {
    socket.end(`hello, ${socket.remoteAddress} ${socket.remotePort}`);
  });
  await using listener = listen(HERE, serveNode(https));
  const client = await connectTls(listener);
  await get(client);
  const ended = listener.shutdown();
  assertEquals(await isClosed(client), true);
  assertEquals(await ended, { completed: 1, aborted: 0 });
  client.close();

  await using other = listen(HERE, serveNode(echo));
  const second = await connectTls(other);
  const { port } = second.localAddr as Deno.NetAddr;
  assertEquals(await readAll(second), `hello, 127.0.0.1 ${port}`);
});

Deno.test("serveTls() refuses what it cannot serve with", () => {
  const callback = () => {};
  const rows: [unknown, string][] = [
    [null, "'options' must be an object or a tls.Server: received null"],
    [{}, "'cert' and 'key' must be given"],
    [{ cert: ONE.cert }, "'cert' and 'key' must be given"],
    [{ cert: "x", key: "y" }, "'cert' and 'key' must be PEM"],
    [{ ...ONE, key: TWO.key }, "'key' must be the key of 'cert'"],
    [{ ...ONE, requestCert: true }, "'ca' must be given with 'requestCert'"],
  ];
  for (const [options, message] of rows) {
    assertThrows(
      () => serveTls(options as ServeTlsOptions, callback),
      TypeError,
      `Cannot serve TLS as ${message}`,
    );
  }
  assertThrows(
    () => serveTls({ ...ONE, crl: "x", ca: AUTHORITY }, callback),
    Deno.errors.NotSupported,
    "'crl'",
  );
  assertThrows(
    () => serveTls(ONE, null as never),
    TypeError,
    "'callback' must be a function",
  );
});
