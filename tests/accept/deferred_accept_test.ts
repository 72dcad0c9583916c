/** LEV_OPT_DEFERRED_ACCEPT: a connection is delivered when its first byte is there. */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { connect as nodeConnect } from "node:net";
import {
  LEV_OPT_DEFERRED_ACCEPT,
  LEV_OPT_DISABLED,
  listen,
  type ListenerOptions,
  listenTls,
} from "@evconn/listener";
import {
  connect,
  connectAll,
  connectAndReset,
  isClosed,
  readAll,
  turns,
  until,
} from "../helpers/clients.ts";
import { shortQueue } from "../helpers/machine.ts";
import { runProgram } from "../helpers/program.ts";
import { NODE_CLIENTS_RESET } from "../helpers/this_deno.ts";

const DEFERRED = {
  hostname: "127.0.0.1",
  port: 0,
  flags: LEV_OPT_DEFERRED_ACCEPT,
};
const closeAll = (conns: Deno.Conn[]) => conns.forEach((conn) => conn.close());
const say = (conn: Deno.Conn, text: string) =>
  conn.write(new TextEncoder().encode(text));
const readText = async (conn: Deno.Conn, length = 100) => {
  const buffer = new Uint8Array(length);
  return new TextDecoder().decode(
    buffer.subarray(0, await conn.read(buffer) ?? 0),
  );
};

/** A listener that keeps what is delivered. */
function keeping(options: ListenerOptions = {}) {
  const conns: Deno.TcpConn[] = [];
  const flags = LEV_OPT_DEFERRED_ACCEPT | (options.flags ?? 0);
  const listener = listen({ ...DEFERRED, ...options, flags }, (conn) => {
    conns.push(conn);
  });
  return {
    listener,
    conns,
    ports: () => conns.map((conn) => conn.remoteAddr.port),
  };
}

Deno.test("deferred accept delivers by first byte, and silent clients delay nobody", async () => {
  const { listener, conns, ports } = keeping();
  const clients = await connectAll(listener, 4);
  await until(() => listener.stats.accepted === 4);
  assertEquals(conns, []);
  const order = [2, 0, 3];
  for (const i of order) {
    const before = conns.length;
    await say(clients[i]!, `client ${i}`);
    await until(() => conns.length > before);
  }
  assertEquals(ports(), order.map((i) => clients[i]!.localAddr.port));
  assertEquals(await Promise.all(conns.map((conn) => readText(conn))), [
    "client 2",
    "client 0",
    "client 3",
  ]);
  await listener.close();
  assert(await isClosed(clients[1]!)); // the silent one
  closeAll([...conns, ...clients]);
});

Deno.test("deferred accept delivers a whole Deno.TcpConn that gives the first byte first", async () => {
  await using listener = listen(DEFERRED);
  const client = await connect(listener);
  await say(client, "hello");
  using conn = await listener.accept();
  assertEquals(conn.localAddr, client.remoteAddr);
  assertEquals(conn.remoteAddr, client.localAddr);
  assertEquals(await conn.read(new Uint8Array(0)), 0);
  assertEquals(await readText(conn, 1), "h");
  assertEquals(await readText(conn, 3), "ell");
  assertEquals(await readText(conn), "o");
  assertEquals(Object.getOwnPropertyNames(conn), []); // nothing but Deno's own
  assertEquals(Deno.inspect(conn), Deno.inspect(client));
  conn.setNoDelay();
  conn.setKeepAlive();
  conn.unref();
  conn.ref();
  await say(client, " world");
  assertEquals(await readText(conn), " world");
  await say(conn, "goodbye");
  await conn.closeWrite();
  assertEquals(await readText(client), "goodbye");
  client.close();
  assertEquals(await conn.read(new Uint8Array(1)), null);
});

Deno.test("deferred accept: readable gives the first byte first, too", async () => {
  await using listener = listen(DEFERRED);
  for (const mode of ["text", "byob", "cancel"]) {
    using client = await connect(listener);
    await say(client, "hello");
    const conn = await listener.accept();
    assertEquals(conn.readable, conn.readable);
    if (mode === "text") {
      await say(client, " world");
      await client.closeWrite();
      assertEquals(await new Response(conn.readable).text(), "hello world");
    } else if (mode === "byob") {
      using reader = disposable(conn.readable.getReader({ mode: "byob" }));
      const { value } = await reader.read(new Uint8Array(2));
      assertEquals(new TextDecoder().decode(value), "he");
      conn.close();
    } else {
      await conn.readable.cancel();
    }
    assert(await isClosed(client)); // as Deno's own stream would
  }
});

Deno.test("deferred accept: readable fails when the client resets", {
  ignore: !NODE_CLIENTS_RESET,
}, async () => {
  await using listener = listen(DEFERRED);
  const client = nodeConnect(
    listener.addr.port,
    "127.0.0.1",
    () => client.write("hello"),
  );
  const conn = await listener.accept();
  const reader = conn.readable.getReader();
  assertEquals(new TextDecoder().decode((await reader.read()).value), "hello");
  client.resetAndDestroy();
  await assertRejects(() => reader.read(), Deno.errors.ConnectionReset);
  assertThrows(() => conn.close(), Deno.errors.BadResource); // it is closed already
});

function disposable<T extends { releaseLock(): void }>(
  reader: T,
): T & Disposable {
  return Object.assign(reader, {
    [Symbol.dispose]: () => reader.releaseLock(),
  });
}

Deno.test("deferred accept: two reads at once get everything", async () => {
  await using listener = listen(DEFERRED);
  using client = await connect(listener);
  await say(client, "a");
  using conn = await listener.accept();
  const reads = [readText(conn), readText(conn)];
  assertEquals(await reads[0], "a");
  await say(client, "b");
  assertEquals(await reads[1], "b");
});

Deno.test("deferred accept works with for await", async () => {
  const listener = listen(DEFERRED);
  const clients = await connectAll(listener, 3);
  await say(clients[1]!, "hello");
  for await (const conn of listener) {
    assertEquals(conn.remoteAddr.port, clients[1]!.localAddr.port);
    conn.close();
    break;
  }
  assert(await isClosed(clients[0]!));
  closeAll(clients);
});

Deno.test("deferred accept drops quietly who goes away without a byte", {
  ignore: !NODE_CLIENTS_RESET,
}, async () => {
  const errors: unknown[] = [];
  const { listener, conns } = keeping({
    onAcceptError: (error) => void errors.push(error),
    onConnectionError: (error) => void errors.push(error),
  });
  closeAll(await connectAll(listener, 3));
  await connectAndReset(listener, 3);
  await until(() => listener.stats.aborted === 6);
  assertEquals([conns, errors], [[], []]);
  await listener.close();
});

Deno.test("deferred accept: silent clients count toward maxConnections", async () => {
  const { listener, conns } = keeping({ maxConnections: 2 });
  const clients = await connectAll(listener, 4);
  await until(() => listener.stats.accepted === 2);
  await turns();
  assertEquals([listener.holds, listener.stats.accepted], [["full"], 2]);
  await say(clients[1]!, "hello"); // delivered to a callback that keeps it: a place is free
  await until(() => conns.length === 1 && listener.stats.accepted === 3);
  clients[0]!.close(); // a place is free
  await until(() => listener.stats.accepted === 4);
  assertEquals(listener.stats.aborted, 1);
  await listener.close();
  closeAll([...conns, ...clients.slice(1)]);
});

Deno.test("deferred accept: at the limit, reject sends the next one away", async () => {
  const { listener, conns } = keeping({
    maxConnections: 1,
    overflow: "reject",
  });
  const clients = await connectAll(listener, 2);
  assert(await isClosed(clients[1]!));
  assertEquals(listener.stats.rejected, 1);
  await say(clients[0]!, "hello");
  await until(() => conns.length === 1);
  await listener.close();
  closeAll([...conns, ...clients]);
});

Deno.test("deferred accept: one that is served keeps its place", async () => {
  const ending = Promise.withResolvers<void>();
  await using listener = listen(
    { ...DEFERRED, maxConnections: 1 },
    () => ending.promise,
  );
  const clients = await connectAll(listener, 2);
  await until(() => listener.stats.accepted === 1);
  await say(clients[0]!, "hello");
  await until(() => listener.stats.active === 1);
  assertEquals([listener.holds, listener.stats.accepted], [["full"], 1]);
  ending.resolve();
  await until(() => listener.stats.accepted === 2);
  closeAll(clients);
});

Deno.test("deferred accept: pause() keeps those that speak, and resume() delivers them", async () => {
  const { listener, conns, ports } = keeping();
  const clients = await connectAll(listener, 3);
  await until(() => listener.stats.accepted === 3);
  listener.pause();
  for (const i of [2, 0]) {
    await say(clients[i]!, "hello");
    await turns();
  }
  assertEquals(conns, []);
  listener.maxConnections = 3; // they have their places, having spoken or not
  assertEquals(listener.holds, ["paused", "full"]);
  listener.resume();
  assertEquals(conns, []); // never from inside resume()
  await until(() => conns.length === 2);
  assertEquals(
    ports(),
    [clients[2]!, clients[0]!].map((client) => client.localAddr.port),
  );
  await listener.close();
  closeAll([...conns, ...clients]);
});

Deno.test("deferred accept: close() closes those that are not delivered", async () => {
  const { listener, conns } = keeping();
  const clients = await connectAll(listener, 2);
  await until(() => listener.stats.accepted === 2);
  listener.pause();
  await say(clients[0]!, "hello");
  await turns();
  await listener.close();
  for (const client of clients) assert(await isClosed(client));
  assertEquals(conns, []);
  closeAll(clients);
});

Deno.test("deferred accept: detach() hands over those that are not delivered", async () => {
  const { listener } = keeping();
  const clients = await connectAll(listener, 3);
  await until(() => listener.stats.accepted === 3);
  listener.pause();
  await say(clients[1]!, "spoke first");
  await turns();
  using socket = listener.detach();
  const late = await connect(listener);
  clients.push(late);
  const ports: number[] = [];
  for (let i = 0; i < 4; i++) {
    using conn = await socket.accept();
    ports.push(conn.remoteAddr.port);
    const text = readText(conn);
    if (i > 0) {
      await say(
        clients.find(({ localAddr }) => localAddr.port === ports[i])!,
        "late",
      );
    }
    assertEquals(await text, i > 0 ? "late" : "spoke first");
  }
  assertEquals(ports, [1, 0, 2, 3].map((i) => clients[i]!.localAddr.port));
  closeAll(clients);
});

Deno.test("deferred accept: shutdown() delivers those in the queue that have spoken", async () => {
  const texts: string[] = [];
  const listener = listen({
    ...DEFERRED,
    flags: LEV_OPT_DEFERRED_ACCEPT | LEV_OPT_DISABLED,
  }, async (conn) => {
    texts.push(await readText(conn));
  });
  const clients = await connectAll(listener, 20);
  for (const client of clients.slice(5)) await say(client, "hello");
  listener.resume();
  assertEquals(await listener.shutdown(), { completed: 15, aborted: 0 });
  assertEquals(texts, Array(15).fill("hello"));
  for (const client of clients) assert(await isClosed(client));
  closeAll(clients);
});

const MANY = 400; // Deno reads from 128 of them in a turn

Deno.test(
  "deferred accept: shutdown() waits for many first bytes, not for the silent",
  {
    ignore: shortQueue(MANY + 1),
  },
  async () => {
    for (const maxConnections of [Infinity, MANY + 1]) {
      let served = 0;
      const listener = listen({
        ...DEFERRED,
        maxConnections,
        flags: LEV_OPT_DEFERRED_ACCEPT | LEV_OPT_DISABLED,
      }, (conn) => {
        served++;
        conn.close();
      });
      const silent = await connect(listener);
      const clients = await connectAll(listener, MANY);
      for (const client of clients) await say(client, "hello");
      listener.resume();
      await listener.shutdown();
      assertEquals(served, MANY);
      assert(await isClosed(silent));
      closeAll([silent, ...clients]);
    }
  },
);

Deno.test("deferred accept: shutdown() does not wait for silent clients at the limit", async () => {
  const { listener } = keeping({ maxConnections: 1 });
  using client = await connect(listener);
  await until(() => listener.stats.accepted === 1);
  await listener.shutdown(); // 30 s before the client is dropped
  assert(await isClosed(client));
});

Deno.test("deferred accept: a client that says nothing is dropped after handshakeTimeout", async () => {
  const { listener, conns } = keeping({ handshakeTimeout: 20 });
  using client = await connect(listener);
  assert(await isClosed(client));
  await until(() => listener.stats.waiting === 0);
  assertEquals([conns, listener.stats.aborted], [[], 1]);
  await listener.close();
});

Deno.test("deferred accept: a client may say nothing for 30 s", async () => {
  const { stdout, stderr } = await runProgram(`
    // A clock that runs a hundred times as fast.
    const real = setInterval;
    let time = 0;
    globalThis.setInterval = (wake, ms) => real(() => { time += ms; wake(); }, ms / 100);
    const listener = evconn.listen({
      hostname: "127.0.0.1",
      port: 0,
      flags: evconn.LEV_OPT_DEFERRED_ACCEPT,
    }, () => console.log("not to be called"));
    const client = await Deno.connect({ port: listener.addr.port });
    console.log(await client.read(new Uint8Array(1)), time >= 30_000, time <= 31_000);
    console.log(listener.stats.aborted);
    await listener.close();
    client.close();`);
  assertEquals([stdout, stderr], ["null true true\n1", ""]);
});

Deno.test("deferred accept over TLS waits for the first byte within", async () => {
  const cert = await Deno.readTextFile("tests/testdata/localhost.crt");
  const key = await Deno.readTextFile("tests/testdata/localhost.key");
  await using listener = listenTls({ ...DEFERRED, cert, key }, async (conn) => {
    await say(conn, await readText(conn));
  });
  const { port } = listener.addr;
  using _silent = await Deno.connect({ hostname: "127.0.0.1", port });
  using plain = await Deno.connect({ hostname: "127.0.0.1", port });
  await say(plain, "this is no handshake\n\n\n");
  await until(() => listener.stats.aborted === 1);
  const client = await Deno.connectTls({
    hostname: "localhost",
    port,
    caCerts: [cert],
  });
  await say(client, "hello");
  assertEquals(await readAll(client), "hello");
});
