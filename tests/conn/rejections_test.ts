/** onReject: who is turned away and why, and a last line for them. */
import {
  assert,
  assertEquals,
  assertLess,
  assertLessOrEqual,
  assertThrows,
} from "@std/assert";
import {
  type ConnListener,
  LEV_OPT_DEFERRED_ACCEPT,
  listen,
  type ListenerOptions,
  type RejectCallback,
  type RejectReason,
} from "@evconn/listener";
import {
  connect,
  connectAll,
  isClosed,
  readAll,
  until,
} from "../helpers/clients.ts";
import { QuietConsole } from "../helpers/console.ts";
import { echo, writeAll } from "../helpers/faults.ts";
import { connectAs, isServed } from "../helpers/peer_clients.ts";
import { bytes } from "../helpers/proxy_headers.ts";
import { listenOn, testOver } from "../helpers/transports.ts";

const LOCAL = { hostname: "127.0.0.1", port: 0 };
const PROXIED = { ...LOCAL, proxyProtocol: true };
const closeAll = (conns: Deno.Conn[]) => conns.forEach((conn) => conn.close());
const nobody = () => false;

const sorry = (conn: Deno.Conn, reason: string) =>
  conn.write(bytes(`421 ${reason}\r\n`));

/** The bytes that this process has in use. */
function memory(): number {
  const { heapUsed, external } = Deno.memoryUsage();
  return heapUsed + external;
}

/** Whether this side still has a connection open. */
function isOpen(conn: Deno.TcpConn): boolean {
  try {
    conn.setNoDelay(true);
    return true;
  } catch {
    return false;
  }
}

/** How a client comes to be turned away for each reason, when another is served. */
const REASONS: Record<
  RejectReason,
  [ListenerOptions, connect: (to: ConnListener) => Promise<Deno.TcpConn>][]
> = {
  "full": [
    [{ maxConnections: 1, overflow: "reject" }, connect],
    [{
      maxConnections: 1,
      overflow: "reject",
      flags: LEV_OPT_DEFERRED_ACCEPT,
    }, connect],
  ],
  "peer": [
    [{ maxConnectionsPerPeer: 1 }, connect],
    [{ maxConnectionsPerPeer: 1, flags: LEV_OPT_DEFERRED_ACCEPT }, connect],
  ],
  "not-admitted": [
    [{ admit: (_, { stats }) => stats.active === 0 }, connect],
    [{
      admit: ({ hostname }) => hostname !== "192.0.2.2",
      proxyProtocol: true,
    }, (to) => connectAs("192.0.2.2", to)],
  ],
  "proxy-header": [
    [{ proxyProtocol: true }, async (to) => {
      const conn = await connect(to);
      await conn.write(bytes("GET / HTTP/1.1\r\n\r\n"));
      return conn;
    }],
  ],
};

for (const [reason, ways] of Object.entries(REASONS)) {
  Deno.test(`onReject is told "${reason}", with the connection and the listener`, async () => {
    for (const [options, connectInVain] of ways) {
      const told: unknown[][] = [];
      await using listener = listen({
        ...LOCAL,
        ...options,
        onReject: (conn, ...args) => {
          told.push([conn.remoteAddr.transport, isOpen(conn), ...args]);
        },
      }, echo);
      using first = options.proxyProtocol
        ? await connectAs("192.0.2.1", listener)
        : await connect(listener);
      assert(await isServed(first));
      using client = await connectInVain(listener);
      assert(await isClosed(client));
      assertEquals(told, [["tcp", true, reason, listener]]);
      const { rejected, accepted, active, aborted } = listener.stats;
      assertEquals({ rejected, accepted, active, aborted }, {
        rejected: 1,
        accepted: 2,
        active: 1,
        aborted: 0,
      });
    }
  });

  Deno.test(`onReject may say a last line for "${reason}"`, async () => {
    for (const [options, connectInVain] of ways) {
      await using listener = listen(
        { ...LOCAL, ...options, onReject: sorry },
        echo,
      );
      using first = options.proxyProtocol
        ? await connectAs("192.0.2.1", listener)
        : await connect(listener);
      assert(await isServed(first));
      assertEquals(
        await readAll(await connectInVain(listener)),
        `421 ${reason}\r\n`,
      );
    }
  });
}

Deno.test("onReject is told that a proxy may not connect", async () => {
  const told: string[] = [];
  await using listener = listen({
    ...LOCAL,
    proxyProtocol: nobody,
    onReject: (_conn, reason) => told.push(reason),
  }, echo);
  using client = await connect(listener);
  assert(await isClosed(client));
  assertEquals(told, ["proxy-header"]);
});

Deno.test("onReject is not told of clients that leave before they are ready", async () => {
  const told: string[] = [];
  await using listener = listen({
    ...PROXIED,
    onReject: (_conn, reason) => told.push(reason),
  }, echo);
  for (const silent of await connectAll(listener, 3)) silent.close();
  await until(() => listener.stats.aborted === 3);
  assertEquals([told, listener.stats.rejected], [[], 0]);
});

testOver("onReject may say a last line", async (transport) => {
  await using listener = listenOn(
    transport,
    { admit: nobody, onReject: sorry },
    echo,
  );
  const client = await transport.connect(listener);
  assertEquals(await readAll(client), "421 not-admitted\r\n");
});

Deno.test("onReject delays the close until its promise settles", async () => {
  const going = Promise.withResolvers<void>();
  const conns: Deno.TcpConn[] = [];
  await using listener = listen({
    ...LOCAL,
    admit: nobody,
    onReject: async (conn) => {
      conns.push(conn);
      await conn.write(bytes("421 "));
      await going.promise;
      await conn.write(bytes("bye\r\n"));
    },
  }, echo);
  using client = await connect(listener);
  await client.read(new Uint8Array(4));
  assert(isOpen(conns[0]!));
  going.resolve();
  assertEquals(await readAll(client), "bye\r\n");
});

Deno.test("onReject's line and the end come whole to a client that has sent what nobody reads", async () => {
  let sent = Promise.withResolvers<void>();
  await using listener = listen({
    ...LOCAL,
    admit: nobody,
    onReject: async (conn, reason) => {
      await sent.promise;
      await sorry(conn, reason);
    },
  }, echo);
  for (let i = 0; i < 50; i++) {
    sent = Promise.withResolvers();
    const client = await connect(listener);
    await client.write(new Uint8Array(10_000));
    sent.resolve();
    assertEquals(await readAll(client), "421 not-admitted\r\n"); // no reset
  }
});

testOver(
  "onReject's line and the end come whole to a client that goes on sending",
  async (transport) => {
    await using listener = listenOn(
      transport,
      { admit: nobody, onReject: sorry },
      echo,
    );
    for (let i = 0; i < 10; i++) {
      using client = await transport.connect(listener);
      await writeAll(client, new Uint8Array(10_000));
      const line = new Uint8Array(100);
      const length = await client.read(line);
      assertEquals(
        new TextDecoder().decode(line.subarray(0, length!)),
        "421 not-admitted\r\n",
      );
      assertEquals(await client.read(line), null);
      // A reset would make a write fail, and a program that writes first reads no more.
      for (let i = 0; i < 300; i++) {
        await writeAll(client, new Uint8Array(10_000));
      }
    }
  },
);

testOver(
  "onReject does not wait longer for a client that never stops sending",
  async (transport) => {
    await using listener = listenOn(
      transport,
      { admit: nobody, onReject: sorry },
      echo,
    );
    const megabyte = new Uint8Array(1_000_000);
    using client = await transport.connect(listener);
    const before = memory();
    let [sent, most] = [0, 0];
    try {
      for (;; sent += megabyte.length) {
        await writeAll(client, megabyte);
        most = Math.max(most, memory() - before);
      }
    } catch {
      // The connection is closed, with bytes that nobody has read.
    }
    // Nothing of it is kept. There is other garbage, of both sides.
    assertLess(most, Math.max(sent / 4, 50_000_000));
  },
);

Deno.test("onReject that hangs is cut off", async () => {
  await using listener = listen({
    ...LOCAL,
    admit: nobody,
    onReject: () => new Promise(() => {}),
  }, echo);
  using client = await connect(listener);
  assert(await isClosed(client));
});

Deno.test("onReject that throws or rejects changes nothing", async () => {
  using _quiet = new QuietConsole();
  const hooks: RejectCallback[] = [
    () => {
      throw new Error("a bug in a hook");
    },
    () => {
      throw null;
    },
    () => Promise.reject(new Error("a bug in a hook")),
    () => ({
      then() {
        throw new Error("a bug in a hook");
      },
    }),
    (conn) => conn.close(),
    async (conn) => {
      await Promise.resolve();
      conn.close();
    },
    () => "a value",
  ];
  for (const onReject of hooks) {
    const errors: unknown[] = [];
    await using listener = listen({
      ...LOCAL,
      maxConnections: 1,
      overflow: "reject",
      onReject,
      onConnectionError: (error) => errors.push(error),
    }, echo);
    using served = await connect(listener);
    assert(await isServed(served));
    for (let i = 1; i <= 3; i++) {
      using client = await connect(listener);
      assert(await isClosed(client));
      assertEquals(listener.stats.rejected, i);
    }
    assert(await isServed(served));
    assertEquals(errors, []);
  }
});

Deno.test("onReject keeps 64 connections at most, and the others are closed at once", async () => {
  const COUNT = 200;
  const conns: Deno.TcpConn[] = [];
  const hanging = Promise.withResolvers<void>();
  await using listener = listen({
    ...LOCAL,
    admit: nobody,
    onReject: (conn) => {
      conns.push(conn);
      return hanging.promise;
    },
  }, echo);
  const clients = await connectAll(listener, COUNT);
  await until(() => listener.stats.rejected === COUNT);
  assertLessOrEqual(conns.filter(isOpen).length, 64);
  assertEquals(conns.length, COUNT); // each was told
  hanging.resolve();
  for (const client of clients) assert(await isClosed(client));
  closeAll(clients);
});

Deno.test("onReject may say lines again when those under way have ended", async () => {
  const hanging = Promise.withResolvers<void>();
  let hangs = true;
  const conns: Deno.TcpConn[] = [];
  await using listener = listen({
    ...LOCAL,
    admit: nobody,
    onReject: (conn, reason) => {
      if (!hangs) return sorry(conn, reason);
      conns.push(conn);
      return hanging.promise;
    },
  }, echo);
  const clients = await connectAll(listener, 100);
  await until(() => listener.stats.rejected === 100);
  hangs = false;
  hanging.resolve();
  for (const client of clients) assert(await isClosed(client));
  closeAll(clients);
  await until(() => !conns.some(isOpen));
  for (let i = 0; i < 100; i++) {
    assertEquals(
      await readAll(await connect(listener)),
      "421 not-admitted\r\n",
    );
  }
});

Deno.test("onReject holds no place in the listener while its line is under way", async () => {
  const hanging = Promise.withResolvers<void>();
  const holds: (readonly string[])[] = [];
  await using listener = listen({
    ...PROXIED,
    maxConnections: 1,
    admit: ({ hostname }) => hostname === "192.0.2.1",
    onReject: (_conn, _reason, listener) => {
      holds.push(listener.holds);
      return hanging.promise;
    },
  }, echo);
  using turnedAway = await connectAs("192.0.2.2", listener);
  await until(() => holds.length === 1);
  assertEquals([holds, listener.holds], [[[]], []]); // freed before anybody is told
  using client = await connectAs("192.0.2.1", listener);
  assert(await isServed(client));
  hanging.resolve();
  assert(await isClosed(turnedAway));
});

Deno.test("onReject counts toward no peer's limit", async () => {
  const hanging = Promise.withResolvers<void>();
  await using listener = listen({
    ...LOCAL,
    maxConnectionsPerPeer: 1,
    onReject: () => hanging.promise,
  }, echo);
  const first = await connect(listener);
  assert(await isServed(first));
  using second = await connect(listener);
  await until(() => listener.stats.rejected === 1);
  first.close();
  await until(() => listener.stats.active === 0);
  using third = await connect(listener);
  assert(await isServed(third));
  hanging.resolve();
  assert(await isClosed(second));
});

for (const verb of ["close", "shutdown", "detach"] as const) {
  Deno.test(`finished waits for last lines after ${verb}()`, async () => {
    const conns: Deno.TcpConn[] = [];
    const listener = listen({
      ...LOCAL,
      admit: nobody,
      onReject: (conn) => {
        conns.push(conn);
        return new Promise(() => {});
      },
    }, echo);
    using client = await connect(listener);
    await until(() => conns.length === 1);
    const ended = listener[verb]();
    await listener.finished;
    assertEquals(isOpen(conns[0]!), false);
    assert(await isClosed(client));
    if (verb === "detach") listener.socket.close();
    else await ended;
  });
}

Deno.test("onReject may close the listener", async () => {
  const listener = listen({
    ...LOCAL,
    admit: nobody,
    onReject: (_conn, _reason, listener) => listener.close(),
  }, echo);
  using client = await connect(listener);
  assert(await isClosed(client));
  await listener.finished;
  assertEquals([listener.state, listener.stats.rejected], ["closed", 1]);
});

Deno.test("onReject must be a function", () => {
  for (const onReject of [true, "421", {}]) {
    assertThrows(
      () => listen({ ...LOCAL, onReject: onReject as unknown as () => void }),
      TypeError,
      "Cannot listen as 'onReject' must be a function",
    );
  }
});
