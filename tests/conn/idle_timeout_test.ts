/** idleTimeout: no operation on a connection waits for its client for ever. */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  ConnListener,
  listen,
  type ListenerOptions,
  listenTls,
} from "@evconn/listener";
import { readAhead, stateOf } from "../../internal/conn/front.ts";
import {
  connect,
  connectAll,
  isClosed,
  turns,
  until,
} from "../helpers/clients.ts";
import { CERTIFICATE } from "../helpers/certificate.ts";
import { Clock } from "../helpers/clock.ts";
import { echo, roundTrip, writeAll } from "../helpers/faults.ts";
import { runProgram } from "../helpers/program.ts";
import { CLOSE_ENDS_WRITES } from "../helpers/this_deno.ts";
import { listenOn, testOver, type Transport } from "../helpers/transports.ts";

const { TimedOut } = Deno.errors;
const HERE = { hostname: "127.0.0.1", port: 0 };
/** Short, for what is to time out in any case. */
const SHORT = 20;
/** For what a Clock measures, in ms: a sweep looks at it eight times. */
const TIMEOUT = 800;
const ALMOST = 0.75 * TIMEOUT;
/** Later than that it must not be. */
const LATEST = 1.25 * TIMEOUT + 1;

/** A client that says and reads nothing, and the operation that waits for it. */
async function testIdle(
  transport: Transport,
  wait: (conn: Deno.Conn) => Promise<unknown>,
): Promise<void> {
  const told: unknown[] = [];
  const waited = Promise.withResolvers<unknown>();
  await using listener = listenOn(transport, {
    idleTimeout: SHORT,
    onConnectionError: (error) => told.push(error),
  }, async (conn) => {
    await wait(conn).catch((error) => {
      waited.resolve(error);
      throw error;
    });
  });
  using client = await transport.connect(listener);
  if ("handshake" in client) await (client as Deno.TlsConn).handshake();
  const error = await waited.promise;
  assert(error instanceof TimedOut, Deno.inspect(error));
  await until(() => listener.stats.active === 0);
  const { accepted, timedOut, aborted, connectionErrors } = listener.stats;
  assertEquals([accepted, timedOut, aborted, connectionErrors], [1, 1, 0, 0]);
  assertEquals(told, []);
}

testOver(
  "idleTimeout ends a read() of a silent client",
  (transport) => testIdle(transport, (conn) => conn.read(new Uint8Array(1))),
);

testOver(
  "idleTimeout ends a write() to a client that never reads",
  (transport) =>
    testIdle(transport, async (conn) => {
      const bytes = new Uint8Array(65_536);
      for (;;) await conn.write(bytes);
    }),
  !CLOSE_ENDS_WRITES,
);

testOver(
  "idleTimeout ends the readable of a silent client",
  (transport) =>
    testIdle(transport, (conn) => conn.readable.pipeTo(conn.writable)),
);

testOver(
  "idleTimeout ends a BYOB read of a silent client",
  (transport) =>
    testIdle(
      transport,
      (conn) =>
        conn.readable.getReader({ mode: "byob" }).read(new Uint8Array(8)),
    ),
);

testOver(
  "idleTimeout ends the writable of a client that never reads",
  (transport) =>
    testIdle(transport, async (conn) => {
      const writer = conn.writable.getWriter();
      writer.closed.catch(() => {});
      const bytes = new Uint8Array(65_536);
      for (;;) await writer.write(bytes);
    }),
  !CLOSE_ENDS_WRITES,
);

testOver(
  "idleTimeout closes the connection of a silent client",
  async (transport) => {
    await using listener = listenOn(transport, { idleTimeout: SHORT }, echo);
    using client = await transport.connect(listener);
    assert(await isClosed(client));
  },
);

testOver(
  "idleTimeout leaves a client alone that does what it should",
  async (transport) => {
    await using listener = listenOn(transport, { idleTimeout: 60_000 }, echo);
    using client = await transport.connect(listener);
    assertEquals(await roundTrip(client, "hello"), "hello");
    await client.close();
    await until(() => listener.stats.active === 0);
    assertEquals(listener.stats.timedOut, 0);
  },
);

Deno.test("idleTimeout ends a read() of a client that never begins its TLS handshake", async () => {
  const error = Promise.withResolvers<unknown>();
  const options = { ...HERE, ...CERTIFICATE, idleTimeout: SHORT };
  await using listener = listenTls(options, async (conn) => {
    await conn.read(new Uint8Array(1)).catch(error.resolve);
  });
  using _silent = await connect(listener);
  assert(await error.promise instanceof TimedOut);
  assertEquals([listener.stats.timedOut, listener.stats.aborted], [1, 0]);
});

Deno.test("idleTimeout ends all operations of a connection, and counts it once", async () => {
  await using listener = listen({ ...HERE, idleTimeout: SHORT });
  using _client = await connect(listener);
  const conn = await listener.accept();
  const reads = [1, 2, 3].map(() => conn.read(new Uint8Array(1)));
  for (const read of reads) await assertRejects(() => read, TimedOut);
  assertThrows(() => conn.close(), Deno.errors.BadResource);
  assertEquals(listener.stats.timedOut, 1);
});

Deno.test("idleTimeout works in a loop of for await", async () => {
  const listener = listen({ ...HERE, idleTimeout: SHORT });
  using _client = await connect(listener);
  for await (const conn of listener) {
    await assertRejects(() => conn.read(new Uint8Array(1)), TimedOut);
    break;
  }
  assertEquals(listener.stats.timedOut, 1);
});

Deno.test("idleTimeout lets a full listener serve again", async () => {
  const options = { ...HERE, maxConnections: 3, idleTimeout: SHORT };
  await using listener = listen(options, echo);
  const silent = await connectAll(listener, 3);
  using _next = await connect(listener);
  await until(() => listener.stats.accepted === 4);
  for (const each of silent) assert(await isClosed(each));
  assert(listener.stats.timedOut >= 3);
  assertEquals(listener.maxConnections, 3);
  for (const each of silent) each.close();
});

/** A connection of a listener with a Clock's time, and its client. */
async function clocked(): Promise<
  & { listener: ConnListener; conn: Deno.TcpConn; client: Deno.TcpConn }
  & AsyncDisposable
> {
  const listener = listen({ ...HERE, idleTimeout: TIMEOUT });
  const client = await connect(listener);
  const conn = await listener.accept();
  return {
    listener,
    conn,
    client,
    async [Symbol.asyncDispose]() {
      client.close();
      conn[Symbol.dispose]();
      await listener.close();
    },
  };
}

const readOne = (conn: Deno.Conn) => conn.read(new Uint8Array(1));

/** Writes for ever, to a client that does not read: soon a write waits. */
async function fill(conn: Deno.Conn): Promise<{ filling: Promise<never> }> {
  let written = 0;
  const filling = (async () => {
    const bytes = new Uint8Array(1 << 20);
    for (;;) written += await conn.write(bytes);
  })();
  filling.catch(() => {});
  for (let before = -1; before < written;) {
    before = written;
    await turns(10);
  }
  return { filling };
}

Deno.test("idleTimeout ends a wait neither before its time nor a quarter later", async () => {
  using clock = new Clock();
  await using it = await clocked();
  const read = readOne(it.conn);
  clock.pass(TIMEOUT);
  assertEquals(it.listener.stats.timedOut, 0);
  clock.pass(LATEST - TIMEOUT);
  assertEquals(it.listener.stats.timedOut, 1);
  await assertRejects(() => read, TimedOut);
});

Deno.test("idleTimeout gives a wait its whole time that begins between two looks", async () => {
  using clock = new Clock();
  await using it = await clocked();
  using other = await connect(it.listener);
  using conn = await it.listener.accept();
  const earlier = readOne(it.conn); // the sweep has begun
  clock.pass(TIMEOUT / 8 - 1);
  const read = readOne(conn);
  clock.pass(TIMEOUT);
  assertEquals(it.listener.stats.timedOut, 0);
  await other.write(new Uint8Array(1));
  assertEquals(await read, 1);
  await it.client.write(new Uint8Array(1));
  assertEquals(await earlier, 1);
});

Deno.test("idleTimeout does not count while a handler neither reads nor writes", async () => {
  using clock = new Clock();
  await using it = await clocked();
  await it.client.write(new Uint8Array(1));
  assertEquals(await readOne(it.conn), 1);
  clock.pass(5 * TIMEOUT);
  assertEquals(clock.timers, 0);
  await it.client.write(new Uint8Array(1));
  assertEquals(await readOne(it.conn), 1);
  assertEquals(it.listener.stats.timedOut, 0);
});

Deno.test("idleTimeout does not count while nobody reads from a readable", async () => {
  using clock = new Clock();
  await using it = await clocked();
  const reader = it.conn.readable.getReader();
  const writer = it.conn.writable.getWriter();
  for (let i = 0; i < 3; i++) {
    await it.client.write(new Uint8Array(1));
    assertEquals((await reader.read()).value?.length, 1);
    await writer.write(new Uint8Array(1));
    clock.pass(5 * TIMEOUT);
  }
  assertEquals(it.listener.stats.timedOut, 0);
});

Deno.test(
  "idleTimeout begins anew with each byte that comes while a write waits",
  { ignore: !CLOSE_ENDS_WRITES },
  async () => {
    using clock = new Clock();
    await using it = await clocked();
    const { filling } = await fill(it.conn);
    for (let i = 0; i < 4; i++) {
      clock.pass(ALMOST);
      await it.client.write(new Uint8Array(1));
      assertEquals(await readOne(it.conn), 1);
    }
    assertEquals(it.listener.stats.timedOut, 0);
    clock.pass(LATEST);
    await assertRejects(() => filling, TimedOut);
  },
);

Deno.test("idleTimeout begins anew with each byte that goes while a read waits", async () => {
  using clock = new Clock();
  await using it = await clocked();
  const read = readOne(it.conn);
  for (let i = 0; i < 4; i++) {
    clock.pass(ALMOST);
    await it.conn.write(new Uint8Array(1));
  }
  assertEquals(it.listener.stats.timedOut, 0);
  clock.pass(LATEST);
  await assertRejects(() => read, TimedOut);
});

Deno.test("idleTimeout does not count what a handler has closed itself", async () => {
  using clock = new Clock();
  await using it = await clocked();
  const read = readOne(it.conn);
  it.conn.close();
  await assertRejects(() => read, Deno.errors.Interrupted);
  clock.pass(LATEST);
  assertEquals(it.listener.stats.timedOut, 0);
});

Deno.test("idleTimeout ends waits after the listener's end, and leaves no timer", async () => {
  using clock = new Clock();
  await using it = await clocked();
  const read = readOne(it.conn);
  await it.listener.close();
  assertEquals(clock.timers, 1);
  clock.pass(LATEST);
  await assertRejects(() => read, TimedOut);
  assertEquals([clock.timers, it.listener.stats.timedOut], [0, 1]);
});

Deno.test("idleTimeout leaves no timer when the last wait ends after the listener", async () => {
  using clock = new Clock();
  await using it = await clocked();
  const read = readOne(it.conn);
  await it.listener.close();
  await it.client.write(new Uint8Array(1));
  assertEquals(await read, 1);
  assertEquals(clock.timers, 0);
});

Deno.test("idleTimeout leaves no timer when the listener ends after the last wait", async () => {
  using clock = new Clock();
  await using it = await clocked();
  await it.client.write(new Uint8Array(1));
  assertEquals(await readOne(it.conn), 1);
  await it.listener.close();
  assertEquals(clock.timers, 0);
});

Deno.test("idleTimeout does not count time in which the event loop is blocked", async () => {
  const idleTimeout = 80;
  await using listener = listen({ ...HERE, idleTimeout });
  using client = await connect(listener);
  using conn = await listener.accept();
  const read = readOne(conn);
  await client.write(new Uint8Array(1));
  const reading = readOne(client);
  for (let i = 0; i < 2; i++) {
    // Nothing that has come can be looked at meanwhile.
    const end = performance.now() + 3 * idleTimeout;
    while (performance.now() < end);
    if (i === 0) assertEquals(await read, 1);
    else await conn.write(new Uint8Array(1));
  }
  assertEquals(await reading, 1);
  assertEquals(listener.stats.timedOut, 0);
});

Deno.test("idleTimeout is not for connections that detach() gives back", async () => {
  using clock = new Clock();
  const listener = listen({ ...HERE, idleTimeout: TIMEOUT }, () => {});
  listener.pause(); // the accept in flight brings one that is parked
  using client = await connect(listener);
  await until(() => listener.stats.parked === 1);
  using socket = listener.detach();
  using conn = await socket.accept();
  const read = readOne(conn);
  clock.pass(LATEST);
  await client.write(new Uint8Array(1));
  assertEquals(await read, 1);
  assertEquals(listener.stats.timedOut, 0);
});

Deno.test("idleTimeout is that of the last listener that has a connection", async () => {
  using clock = new Clock();
  const first = listen({ ...HERE, idleTimeout: 10 * TIMEOUT }, () => {});
  first.pause();
  using _client = await connect(first);
  await until(() => first.stats.parked === 1);
  const options = { idleTimeout: TIMEOUT };
  await using second = new ConnListener(first.detach(), options);
  const read = readOne(await second.accept());
  clock.pass(LATEST);
  await assertRejects(() => read, TimedOut);
  assertEquals([first.stats.timedOut, second.stats.timedOut], [0, 1]);
});

Deno.test("idleTimeout ends a read() that waits for one that was begun too early", async () => {
  await using socket = new ConnListener(Deno.listen(HERE), {
    idleTimeout: SHORT,
  });
  using _client = await connect(socket);
  const conn = await socket.accept();
  readAhead(stateOf(conn)); // as before a detach()
  const timer = setTimeout(() => conn.close(), 5000); // without it, for ever
  await assertRejects(() => readOne(conn), TimedOut);
  clearTimeout(timer);
});

Deno.test("idleTimeout keeps no process alive that has nothing else to do", async () => {
  const outcome = await runProgram(`
    const where = { hostname: "127.0.0.1", port: 0, idleTimeout: 600_000 };
    const listener = evconn.listen(where);
    const client = await Deno.connect({ port: listener.addr.port });
    const conn = await listener.accept();
    const read = conn.read(new Uint8Array(1));
    await conn.write(new Uint8Array(1));
    conn.unref();
    listener.unref();
    console.log("end");`);
  assertEquals(outcome, { code: 0, stdout: "end", stderr: "" });
});

Deno.test("idleTimeout lets a process end whose last client is silent", async () => {
  const outcome = await runProgram(`
    const where = { hostname: "127.0.0.1", port: 0, idleTimeout: 20 };
    const listener = evconn.listen(where, (conn) => conn.readable.pipeTo(conn.writable));
    const client = await Deno.connect({ port: listener.addr.port });
    await listener.shutdown();
    console.log(listener.stats.timedOut);`);
  assertEquals(outcome, { code: 0, stdout: "1", stderr: "" });
});

Deno.test("idleTimeout of Infinity never ends a wait, and has no timer", async () => {
  using clock = new Clock();
  await using listener = listen({ ...HERE, idleTimeout: Infinity });
  using client = await connect(listener);
  using conn = await listener.accept();
  const read = readOne(conn);
  assertEquals(clock.timers, 0);
  await client.write(new Uint8Array(1));
  assertEquals(await read, 1);
});

Deno.test("listen() leaves connections as they are without an option that needs more", async () => {
  await using listener = listen(HERE);
  using client = await connect(listener);
  using conn = await listener.accept();
  assertEquals(Object.getPrototypeOf(conn), Object.getPrototypeOf(client));
  await writeAll(conn, new Uint8Array(1));
});

Deno.test("listen() refuses waits that are no positive numbers", () => {
  for (const name of ["idleTimeout", "handshakeTimeout"]) {
    const bad: [unknown, ErrorConstructor][] = [
      [0, RangeError],
      [-1, RangeError],
      [NaN, RangeError],
      [-Infinity, RangeError],
      ["5", TypeError],
      [5n, TypeError],
      [true, TypeError],
      [Symbol("5"), TypeError],
      [{ valueOf: () => 5 }, TypeError],
    ];
    for (const [wait, ErrorClass] of bad) {
      const options = { ...HERE, [name]: wait } as ListenerOptions;
      assertThrows(
        () => listen({ ...HERE, ...options }),
        ErrorClass,
        `Cannot listen as '${name}' must be a positive number of ms or Infinity: received ${
          Deno.inspect(wait)
        }`,
      );
    }
  }
});
