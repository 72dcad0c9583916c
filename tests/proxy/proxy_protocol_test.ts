/** proxyProtocol: what clients are delivered behind a proxy, and what is not. */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  type ConnectionCallback,
  ConnListener,
  LEV_OPT_DEFERRED_ACCEPT,
  listen,
  type ListenerOptions,
  listenTls,
  proxyHeader,
} from "@evconn/listener";
import { CERTIFICATE } from "../helpers/certificate.ts";
import {
  connect,
  connectAll,
  isClosed,
  isGone,
  readAll,
  turns,
  until,
} from "../helpers/clients.ts";
import { writeAll } from "../helpers/faults.ts";
import { runProgram } from "../helpers/program.ts";
import {
  binary,
  bytes,
  hex,
  random,
  SIGNATURE,
  tlv,
} from "../helpers/proxy_headers.ts";

const PROXIED = { hostname: "127.0.0.1", port: 0, proxyProtocol: true };
const closeAll = (conns: Disposable[]) => {
  for (const conn of conns) conn[Symbol.dispose]();
};

const LINE = bytes("PROXY TCP4 192.0.2.1 198.51.100.2 50000 443\r\n");
const BINARY = binary("2111", "c0000201 c6336402 c350 01bb" + tlv(2, "6576"));
const LOCAL = binary("2000", "");
const HEADERS = { LINE, BINARY };
const source = {
  transport: "tcp",
  hostname: "192.0.2.1",
  port: 50000,
} as const;
const destination = {
  transport: "tcp",
  hostname: "198.51.100.2",
  port: 443,
} as const;

const join = (...parts: Uint8Array[]) =>
  Uint8Array.from(parts.flatMap((part) => [...part]));

/** A listener that keeps what is delivered. */
function keeping(options: ListenerOptions = {}) {
  const conns: Deno.TcpConn[] = [];
  const errors: unknown[] = [];
  const listener = listen({
    ...PROXIED,
    onConnectionError: (error) => void errors.push(error),
    ...options,
  }, (conn) => void conns.push(conn));
  return { listener, conns, errors };
}

/** Sends in so many parts, each of which has been sent before the next. */
async function send(
  client: Deno.TcpConn,
  ...parts: Uint8Array[]
): Promise<void> {
  client.setNoDelay();
  for (const part of parts) {
    await writeAll(client, part);
    await turns(1);
  }
}

/** Tells the client how it is shown, and what it has sent: everything up to the end. */
const tell: ConnectionCallback = async (conn) => {
  const { hostname, port } = conn.remoteAddr;
  const text = await readText(conn);
  await writeAll(conn, bytes(`${hostname} ${port} ${text}`));
};

async function readText(conn: Deno.Conn): Promise<string> {
  let text = "";
  const buffer = new Uint8Array(64);
  for (let length; (length = await conn.read(buffer)) !== null;) {
    text += new TextDecoder().decode(buffer.subarray(0, length));
  }
  return text;
}

for (const [name, header] of Object.entries(HEADERS)) {
  Deno.test(`proxyProtocol shows the addresses of a header (${name})`, async () => {
    await using listener = listen(PROXIED);
    using client = await connect(listener);
    await writeAll(client, header);
    using conn = await listener.accept();
    assertEquals([conn.remoteAddr, conn.localAddr], [source, destination]);
    const isText = header === LINE;
    assertEquals(proxyHeader(conn), {
      version: isText ? 1 : 2,
      command: "PROXY",
      proxy: client.localAddr,
      source,
      destination,
      tlvs: isText ? [] : [{ type: 2, value: bytes("ev") }],
    });
    assertEquals(Deno.inspect(conn), Deno.inspect(client));
    conn.close();
    assertEquals(conn.remoteAddr, source); // also for a log that is written later
    assertEquals(proxyHeader(conn)?.proxy, client.localAddr);
  });

  Deno.test(`proxyProtocol reads a header that comes in any two parts (${name})`, async () => {
    await using listener = listen(PROXIED, tell);
    const all = join(header, bytes("payload"));
    const answers = Array.from({ length: all.length - 1 }, async (_, i) => {
      using client = await connect(listener);
      await send(client, all.subarray(0, i + 1), all.subarray(i + 1));
      await client.closeWrite();
      return await readAll(client);
    });
    for (const answer of await Promise.all(answers)) {
      assertEquals(answer, "192.0.2.1 50000 payload");
    }
  });

  Deno.test(`proxyProtocol reads a header that comes byte by byte (${name})`, async () => {
    await using listener = listen(PROXIED, tell);
    using client = await connect(listener);
    const all = join(header, bytes("payload"));
    await send(client, ...Array.from(all, (byte) => Uint8Array.of(byte)));
    await client.closeWrite();
    assertEquals(await readAll(client), "192.0.2.1 50000 payload");
  });

  Deno.test(`proxyProtocol leaves to the handler all that follows a header (${name})`, async () => {
    await using listener = listen(
      PROXIED,
      (conn) => conn.readable.pipeTo(conn.writable),
    );
    const payload = new Uint8Array(200_000).map((_, i) => i * 7);
    using client = await connect(listener);
    const answer = new Response(client.readable).bytes();
    await writeAll(client, join(header, payload));
    await client.closeWrite();
    assertEquals(await answer, payload);
  });

  Deno.test(`proxyProtocol aborts who leaves in the middle of a header (${name})`, async () => {
    const { listener, conns, errors } = keeping();
    const half = header.subarray(0, 20);
    const clients = await connectAll(listener, 3);
    await writeAll(clients[0]!, half);
    await writeAll(clients[1]!, half);
    await until(() => listener.stats.waiting === 3);
    await clients[0]!.closeWrite();
    closeAll(clients.slice(1));
    await until(() => listener.stats.aborted === 3);
    assertEquals([listener.stats.rejected, conns, errors], [0, [], []]);
    assert(await isClosed(clients[0]!));
    closeAll(clients);
    await listener.close();
  });

  Deno.test(`proxyProtocol aborts who says no more after half a header (${name})`, async () => {
    const { listener, conns, errors } = keeping({ handshakeTimeout: 20 });
    using client = await connect(listener);
    await writeAll(client, header.subarray(0, 20));
    assert(await isClosed(client));
    await until(() => listener.stats.waiting === 0);
    const { aborted, rejected } = listener.stats;
    assertEquals([aborted, rejected, conns, errors], [1, 0, [], []]);
    await listener.close();
  });

  Deno.test(`detach() gives back who has sent half a header, with every byte (${name})`, async () => {
    const { listener, conns } = keeping();
    const clients = await connectAll(listener, 2);
    await writeAll(clients[0]!, header.subarray(0, 20));
    await until(() => listener.stats.waiting === 2);
    await turns();
    using socket = listener.detach();
    await writeAll(clients[0]!, header.subarray(20));
    await writeAll(clients[1]!, bytes("hello"));
    for (const client of clients) {
      await client.closeWrite();
      using conn = await socket.accept();
      assertEquals(conn.remoteAddr, client.localAddr);
      const expected = client === clients[0] ? header : bytes("hello");
      assertEquals(await new Response(conn.readable).bytes(), expected);
    }
    assertEquals(conns, []);
    closeAll(clients);
  });

  Deno.test(`proxyProtocol goes on with half a header after detach() (${name})`, async () => {
    const { listener } = keeping();
    using client = await connect(listener);
    await writeAll(client, header.subarray(0, 20));
    await until(() => listener.stats.waiting === 1);
    await turns();
    await using next = new ConnListener(listener.detach(), {
      proxyProtocol: true,
      handshakeTimeout: 5000,
    }, tell);
    await until(() => next.stats.waiting === 1);
    await send(client, header.subarray(20), bytes("payload"));
    await client.closeWrite();
    assertEquals(await readAll(client), "192.0.2.1 50000 payload");
  });

  Deno.test(`proxyProtocol asks nobody for a second header after detach() (${name})`, async () => {
    const asked: Deno.NetAddr[] = [];
    const { listener } = keeping();
    using client = await connect(listener);
    await until(() => listener.stats.waiting === 1);
    listener.pause();
    await writeAll(client, join(header, bytes("payload")));
    await client.closeWrite();
    await turns(); // the header has been read
    await using _next = new ConnListener(listener.detach(), {
      proxyProtocol: (proxy) => asked.push(proxy) > 0,
    }, tell);
    assertEquals(await readAll(client), "192.0.2.1 50000 payload");
    for (const proxy of asked) assertEquals(proxy, client.localAddr);
  });
}

Deno.test("proxyProtocol takes headers of both versions on one listener", async () => {
  await using listener = listen(PROXIED, tell);
  for (const header of [LINE, BINARY, LINE, LOCAL, BINARY, BINARY, LINE]) {
    for (const length of [0, 1, 50, 100, 5000]) {
      using client = await connect(listener);
      const payload = "x".repeat(length);
      const { hostname, port } = header === LOCAL ? client.localAddr : source;
      await writeAll(client, join(header, bytes(payload)));
      await client.closeWrite();
      assertEquals(await readAll(client), `${hostname} ${port} ${payload}`);
    }
  }
});

Deno.test("proxyProtocol shows the real addresses with LOCAL, and leaves what follows", async () => {
  await using listener = listen(PROXIED);
  const block = "c0000201 c6336402 c350 01bb";
  for (const header of [LOCAL, binary("2011", block), binary("20ff", "abcd")]) {
    using client = await connect(listener);
    await writeAll(client, join(header, bytes("health?")));
    await client.closeWrite();
    using conn = await listener.accept();
    assertEquals(conn.remoteAddr, client.localAddr);
    assertEquals(conn.localAddr, client.remoteAddr);
    const proxy = client.localAddr;
    assertEquals(proxyHeader(conn), {
      version: 2,
      command: "LOCAL",
      proxy,
      tlvs: [],
    });
    assertEquals(await readAll(conn), "health?");
  }
});

Deno.test("proxyProtocol shows the real addresses with UNKNOWN and UNSPEC", async () => {
  await using listener = listen(PROXIED);
  const line = bytes("PROXY UNKNOWN ffff::1 whatever 1 2\r\n");
  for (const header of [line, binary("2100", "abcdef")]) {
    using client = await connect(listener);
    await writeAll(client, join(header, bytes("hello")));
    await client.closeWrite();
    using conn = await listener.accept();
    assertEquals(conn.remoteAddr, client.localAddr);
    assertEquals(proxyHeader(conn)?.command, "PROXY");
    assertEquals(await readAll(conn), "hello");
  }
});

Deno.test("proxyProtocol takes a header of 4 KiB, and rejects a longer one before it is there", async () => {
  const { listener, conns } = keeping();
  const block = "c0000201 c6336402 c350 01bb";
  const padded = (length: number) =>
    binary("2111", block + tlv(4, "00".repeat(length - 16 - 12 - 3)));
  using good = await connect(listener);
  const longest = padded(4096);
  await send(
    good,
    ...[0, 1000, 2000, 3000].map((at, i) =>
      longest.subarray(at, i === 3 ? 4096 : at + 1000)
    ),
  );
  await until(() => conns.length === 1);
  using bad = await connect(listener);
  await writeAll(bad, padded(4097).subarray(0, 16));
  assert(await isClosed(bad));
  await until(() => listener.stats.rejected === 1);
  assertEquals(conns.length, 1);
  await listener.close();
  closeAll(conns);
});

Deno.test("proxyProtocol rejects who sends no good header", async () => {
  const bad = [
    bytes("GET / HTTP/1.0\r\n\r\n"),
    bytes("\n"),
    bytes("PROXY TCP4 192.0.2.256"),
    bytes("PROXY TCP4 192.0.2.1 198.51.100.2 50000 443\n"),
    bytes("PROXY UDP4 "),
    bytes("PROXY UNKNOWN" + " ".repeat(107)),
    bytes("proxy tcp4 192.0.2.1 198.51.100.2 50000 443\r\n"),
    hex(SIGNATURE + "3111"), // version 3
    hex(SIGNATURE + "2211"), // a command that is none
    binary("2112", "c0000201 c6336402 c350 01bb"), // UDP
    binary("2131", "00".repeat(216)), // a Unix socket
    binary("2111", "c0000201 c6336402 c350"), // too short for its addresses
    binary("2111", "c0000201 c6336402 c350 01bb" + tlv(3, "00000000")), // CRC32C
    binary("2111", "c0000201 c6336402 c350 01bb" + "0400ff"), // a TLV that is cut off
  ];
  const { listener, conns, errors } = keeping();
  for (const [i, start] of bad.entries()) {
    using client = await connect(listener);
    await writeAll(client, start); // and then nothing: it is known by now
    assert(await isClosed(client));
    await until(() => listener.stats.rejected === i + 1);
  }
  assertEquals([conns, errors, listener.stats.aborted], [[], [], 0]);
  await listener.close();
});

Deno.test("proxyProtocol sends nothing before a header is complete", async () => {
  await using listener = listen(
    PROXIED,
    (conn) => conn.write(bytes("welcome")),
  );
  using client = await connect(listener);
  const reading = readAll(client);
  let isDone = false;
  reading.then(() => isDone = true);
  await send(client, LINE.subarray(0, 44));
  await until(() => listener.stats.waiting === 1);
  assert(!isDone);
  await writeAll(client, LINE.subarray(44));
  assertEquals(await reading, "welcome");
});

Deno.test("proxyProtocol lets a slow client delay nobody", async () => {
  await using listener = listen(PROXIED, tell);
  const slow = await connectAll(listener, 20);
  for (const [i, client] of slow.entries()) {
    await writeAll(client, LINE.subarray(0, i));
  }
  using client = await connect(listener);
  await writeAll(client, BINARY);
  await client.closeWrite();
  assertEquals(await readAll(client), "192.0.2.1 50000 ");
  closeAll(slow);
});

Deno.test("proxyProtocol takes headers of the proxies that a function trusts", async () => {
  const asked: Deno.NetAddr[] = [];
  const { listener, conns } = keeping({
    proxyProtocol: (proxy) => {
      asked.push(proxy);
      return proxy.hostname === "127.0.0.1";
    },
  });
  using client = await connect(listener);
  await writeAll(client, LINE);
  await until(() => conns.length === 1);
  assertEquals(conns[0]!.remoteAddr, source);
  assertEquals(asked, [client.localAddr]);
  await listener.close();
  closeAll(conns);
});

Deno.test("proxyProtocol rejects at once whom a function does not trust", async () => {
  const answers = [false, undefined, null, 1, "yes", {}, Promise.resolve(true)];
  for (const answer of answers) {
    const { listener, conns, errors } = keeping({
      proxyProtocol: () => answer as boolean,
    });
    using client = await connect(listener); // and says nothing
    assert(await isClosed(client));
    await until(() => listener.stats.rejected === 1);
    assertEquals([conns, errors, listener.stats.aborted], [[], [], 0]);
    await listener.close();
  }
});

Deno.test("proxyProtocol rejects at once, and tells, when its function throws", async () => {
  const failure = new Error("cannot tell");
  const { listener, conns, errors } = keeping({
    proxyProtocol: () => {
      throw failure;
    },
  });
  using client = await connect(listener);
  assert(await isClosed(client));
  await until(() => listener.stats.rejected === 1);
  assertEquals([conns, errors], [[], [failure]]);
  await listener.close();
});

Deno.test("proxyProtocol lets its function close the listener", async () => {
  for (const isTrusted of [true, false]) {
    const { listener, conns } = keeping({
      proxyProtocol: () => {
        listener.close();
        return isTrusted;
      },
    });
    using client = await connect(listener);
    assert(await isClosed(client));
    await listener.finished;
    assertEquals([conns, listener.stats.rejected], [[], isTrusted ? 0 : 1]);
  }
});

Deno.test("proxyProtocol lets its function detach the listener", async () => {
  for (const isTrusted of [true, false]) {
    const detached = Promise.withResolvers<Deno.Listener<Deno.TcpConn>>();
    const { listener, conns } = keeping({
      proxyProtocol: () => {
        detached.resolve(listener.detach());
        return isTrusted;
      },
    });
    const clients = await connectAll(listener, 2);
    using socket = await detached.promise;
    // The first is rejected, or given back: the second comes in any case.
    const ports: number[] = [];
    const loop = (async () => {
      for await (const conn of socket) {
        ports.push(conn.remoteAddr.port);
        conn.close();
      }
    })();
    const expected = clients.map((client) => client.localAddr.port)
      .slice(isTrusted ? 0 : 1);
    const isDone = () => ports.length === expected.length;
    await until(isDone, `the clients after detach(): ${isTrusted}`, 5);
    assertEquals([ports, conns], [expected, []]);
    socket.close();
    await loop;
    closeAll(clients);
  }
});

Deno.test("proxyProtocol delivers nobody for a million random bytes", async () => {
  const { listener, conns, errors } = keeping();
  const next = random(42);
  const starts = ["", "", "P", "PROXY ", "PROXY TCP4 ", "PROXY TCP6 "]
    .map(bytes).concat(hex(SIGNATURE.slice(0, 20)));
  const attack = async (length: number) => {
    using client = await connect(listener);
    const noise = Uint8Array.from({ length }, () => next(256));
    const gone = (error: unknown) => {
      if (!isGone(error)) throw error;
    };
    await writeAll(client, join(starts[next(starts.length)]!, noise)).catch(
      gone,
    );
    assert(await isClosed(client));
  };
  let sent = 0;
  let count = 0;
  while (sent < 1_000_000) {
    const lengths = Array.from({ length: 50 }, () => 1 + next(1500));
    await Promise.all(
      lengths.map((length) => length > 40 ? attack(length) : attack(40)),
    );
    sent += lengths.reduce((sum, length) => sum + length);
    count += lengths.length;
  }
  await until(() => listener.stats.rejected === count);
  assertEquals([conns, errors], [[], []]);
  await listener.close();
});

Deno.test("proxyProtocol: who waits counts toward maxConnections, and queues the next", async () => {
  const { listener, conns } = keeping({ maxConnections: 2 });
  const clients = await connectAll(listener, 4);
  await until(() => listener.stats.waiting === 2);
  await turns();
  assertEquals([listener.holds, listener.stats.accepted], [["full"], 2]);
  await writeAll(clients[0]!, bytes("GET")); // rejected: a place is free
  await until(() => listener.stats.accepted === 3);
  await writeAll(clients[1]!, LINE); // delivered, and not counted by the callback
  await until(() => listener.stats.accepted === 4 && conns.length === 1);
  const { waiting, rejected, aborted } = listener.stats;
  assertEquals([waiting, rejected, aborted], [2, 1, 0]);
  await listener.close();
  closeAll([...conns, ...clients]);
});

Deno.test("proxyProtocol: who waits counts toward maxConnections, and rejects the next", async () => {
  const { listener } = keeping({ maxConnections: 2, overflow: "reject" });
  const clients = await connectAll(listener, 3);
  assert(await isClosed(clients[2]!));
  const { accepted, waiting, rejected } = listener.stats;
  assertEquals([accepted, waiting, rejected], [3, 2, 1]);
  await listener.close();
  closeAll(clients);
});

Deno.test("proxyProtocol rejects whom it does not trust before the limit is asked", async () => {
  let isTrusted = true;
  const { listener } = keeping({
    maxConnections: 1,
    overflow: "reject",
    proxyProtocol: () => isTrusted,
  });
  using _first = await connect(listener);
  await until(() => listener.stats.waiting === 1);
  isTrusted = false;
  using second = await connect(listener);
  assert(await isClosed(second));
  assertEquals([listener.stats.rejected, listener.stats.waiting], [1, 1]);
  await listener.close();
});

Deno.test("proxyProtocol and LEV_OPT_DEFERRED_ACCEPT wait for the byte after the header", async () => {
  const { listener, conns } = keeping({ flags: LEV_OPT_DEFERRED_ACCEPT });
  const clients = await connectAll(listener, 2);
  await writeAll(clients[0]!, LINE);
  await writeAll(clients[1]!, join(BINARY, bytes("hello")));
  await until(() => conns.length === 1);
  await turns();
  assertEquals([conns.length, listener.stats.waiting], [1, 1]);
  await writeAll(clients[0]!, bytes("late"));
  await until(() => conns.length === 2);
  closeAll(clients);
  assertEquals(await Promise.all(conns.map(readText)), ["hello", "late"]);
  assertEquals(conns.map((conn) => conn.remoteAddr), [source, source]);
  await listener.close();
  closeAll(conns);
});

Deno.test("proxyProtocol and idleTimeout time out a client that is delivered", async () => {
  const { listener, conns } = keeping({ idleTimeout: 20 });
  using client = await connect(listener);
  await writeAll(client, LINE);
  await until(() => conns.length === 1);
  const read = conns[0]!.read(new Uint8Array(1));
  await assertRejects(() => read, Deno.errors.TimedOut);
  assertEquals([listener.stats.timedOut, listener.stats.aborted], [1, 0]);
  await listener.close();
});

Deno.test("close() ends those that wait for their header", async () => {
  const { listener, conns } = keeping();
  const clients = await connectAll(listener, 3);
  await writeAll(clients[0]!, LINE.subarray(0, 20));
  await writeAll(clients[1]!, BINARY.subarray(0, 20));
  await until(() => listener.stats.waiting === 3);
  await listener.close();
  for (const client of clients) assert(await isClosed(client));
  assertEquals([conns, listener.stats.waiting], [[], 0]);
  closeAll(clients);
});

Deno.test("shutdown() delivers those whose header is there, and closes the others", async () => {
  const listener = listen(PROXIED, tell);
  listener.pause();
  const clients = await connectAll(listener, 20);
  for (const [i, client] of clients.entries()) {
    await writeAll(client, i % 2 ? LINE : LINE.subarray(0, i));
    await client.closeWrite();
  }
  const last = await connect(listener); // half a header, and not its end
  await writeAll(last, BINARY.subarray(0, 20));
  listener.resume();
  assertEquals(await listener.shutdown(), { completed: 10, aborted: 0 });
  for (const [i, client] of clients.entries()) {
    if (i % 2) assertEquals(await readAll(client), "192.0.2.1 50000 ");
    else assert(await isClosed(client));
  }
  assert(await isClosed(last));
  closeAll([...clients, last]);
});

Deno.test("proxyProtocol: who waits keeps the process alive as the listener does", async () => {
  for (const verb of ["unref", "pause", "ref"]) {
    const { code, stdout, stderr } = await runProgram(`
      const listener = evconn.listen({
        hostname: "127.0.0.1",
        port: 0,
        proxyProtocol: true,
        handshakeTimeout: ${verb === "ref" ? 20 : 600_000},
      }, () => {});
      const client = await Deno.connect({ port: listener.addr.port });
      await client.write(new TextEncoder().encode("PROXY "));
      while (listener.stats.accepted < 1) await new Promise((next) => setTimeout(next, 1));
      listener.${verb}();
      addEventListener("unload", () => console.log("aborted", listener.stats.aborted));
      if (${verb === "ref"}) {
        await client.read(new Uint8Array(1)); // the end, after handshakeTimeout
        listener.unref();
      }`);
    const shown = `aborted ${verb === "ref" ? 1 : 0}`;
    assertEquals([code, stdout, stderr], [0, shown, ""]);
  }
});

Deno.test("stats account for every connection that was accepted", async () => {
  const { listener, conns } = keeping({ handshakeTimeout: 600_000 });
  const whole = () => {
    const { accepted, rejected, aborted, parked, waiting } = listener.stats;
    return accepted === conns.length + rejected + aborted + parked + waiting;
  };
  const clients = await connectAll(listener, 40);
  for (const [i, client] of clients.entries()) {
    if (i % 4 === 0) await writeAll(client, BINARY);
    if (i % 4 === 1) await writeAll(client, bytes("GET / HTTP/1.0\r\n"));
    if (i % 4 === 2) await writeAll(client, LINE.subarray(0, 20));
    if (i % 8 === 6) client.close();
    assert(whole());
  }
  await until(() => listener.stats.waiting === 15);
  const { accepted, rejected, aborted } = listener.stats;
  assertEquals([accepted, conns.length, rejected, aborted], [40, 10, 10, 5]);
  listener.pause();
  await writeAll(clients[2]!, LINE.subarray(20));
  await turns();
  assert(whole());
  await listener.close();
  closeAll([...conns, ...clients]);
});

Deno.test("proxyHeader() is undefined for other connections", async () => {
  const options = { ...PROXIED, proxyProtocol: false, idleTimeout: 60_000 };
  await using listener = listen(options);
  using client = await connect(listener);
  using conn = await listener.accept();
  assertEquals([proxyHeader(conn), proxyHeader(client)], [
    undefined,
    undefined,
  ]);
  await writeAll(client, LINE); // it is a request like any other
  client.close();
  assertEquals(await readAll(conn), new TextDecoder().decode(LINE));
});

Deno.test("listen() refuses proxyProtocol with a Unix socket and with TLS", () => {
  const { NotSupported } = Deno.errors;
  const unix = { transport: "unix", path: "not-made" } as const;
  const trusts = () => true;
  for (const proxyProtocol of [true, trusts]) {
    assertThrows(
      () => listen({ ...unix, proxyProtocol }),
      NotSupported,
      "Cannot listen as 'proxyProtocol' is not supported with unix: it tells TCP addresses",
    );
    assertThrows(
      () => listenTls({ ...PROXIED, ...CERTIFICATE, proxyProtocol }),
      NotSupported,
      "Cannot listen as 'proxyProtocol' is not supported with TLS: the header comes before the TLS handshake, which Deno begins itself",
    );
    using tls = Deno.listenTls({ ...PROXIED, ...CERTIFICATE });
    assertThrows(
      () => new ConnListener(tls, { proxyProtocol }),
      NotSupported,
      "Cannot listen as 'proxyProtocol' is not supported with TLS",
    );
  }
});

Deno.test("listen() refuses a proxyProtocol that is neither a boolean nor a function", () => {
  for (const proxyProtocol of [1, "true", {}, ["127.0.0.1"]]) {
    const options = { ...PROXIED, proxyProtocol } as unknown as ListenerOptions;
    assertThrows(
      () => listen({ ...PROXIED, ...options }),
      TypeError,
      "Cannot listen as 'proxyProtocol' must be a boolean or a function: received",
    );
  }
});
