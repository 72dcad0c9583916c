/** Who gets a connection: callback, iteration, accept(). */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { ConnListener, LEV_OPT_DISABLED, listen } from "@evconn/listener";
import {
  connect,
  connectAll,
  isClosed,
  readAll,
  turns,
  until,
} from "../helpers/clients.ts";

const LOCAL = { hostname: "127.0.0.1", port: 0 };
const portOf = (conn: Deno.TcpConn) => conn.remoteAddr.port;
const localPort = (conn: Deno.TcpConn) => conn.localAddr.port;

Deno.test("listen() calls the callback with connection, listener and data, in order", async () => {
  const calls: unknown[][] = [];
  const done = Promise.withResolvers<void>();
  const data = { hits: 0 };
  await using listener = listen(LOCAL, (conn, listener, data) => {
    calls.push([portOf(conn), listener, data]);
    data.hits++;
    conn.close();
    if (calls.length === 5) done.resolve();
  }, data);
  const clients = await connectAll(listener, 5);
  await done.promise;
  assertEquals(
    calls.map(([port]) => port),
    clients.map(localPort),
  );
  assert(calls.every((call) => call[1] === listener && call[2] === data));
  assertEquals(data.hits, 5);
  assertEquals(listener.stats.accepted, 5);
  clients.forEach((client) => client.close());
});

Deno.test("setCallback() swaps callback and data together", async () => {
  const seen: string[] = [];
  const next = Promise.withResolvers<void>();
  const take =
    (name: string) => (conn: Deno.TcpConn, _: unknown, data: number) => {
      seen.push(`${name} ${data}`);
      conn.close();
      next.resolve();
    };
  await using listener = listen(
    { ...LOCAL, flags: LEV_OPT_DISABLED },
    take("old"),
    1,
  );
  const clients = await connectAll(listener, 1);
  listener.setCallback(take("new"), 2);
  listener.resume();
  await next.promise;
  assertEquals(seen, ["new 2"]);
  clients.forEach((client) => client.close());
});

Deno.test("setCallback() inside the callback takes effect with the next connection", async () => {
  const seen: string[] = [];
  const done = Promise.withResolvers<void>();
  await using listener = listen(LOCAL, (conn, listener) => {
    seen.push("first");
    conn.close();
    listener.setCallback((conn) => {
      seen.push("second");
      conn.close();
      if (seen.length === 3) done.resolve();
    });
  });
  const clients = await connectAll(listener, 3);
  await done.promise;
  assertEquals(seen, ["first", "second", "second"]);
  clients.forEach((client) => client.close());
});

Deno.test("setCallback() starts a listener that had none", async () => {
  await using listener = listen(LOCAL);
  const clients = await connectAll(listener, 2);
  await turns();
  assertEquals(listener.stats.accepted, 0);
  assertEquals(listener.state, "listening");
  const ports: number[] = [];
  const done = Promise.withResolvers<void>();
  listener.setCallback((conn) => {
    ports.push(portOf(conn));
    conn.close();
    if (ports.length === 2) done.resolve();
  });
  await done.promise;
  assertEquals(ports, clients.map(localPort));
  clients.forEach((client) => client.close());
});

Deno.test("setCallback(null) leaves connections waiting for the next callback", async () => {
  const ports: number[] = [];
  const done = Promise.withResolvers<void>();
  await using listener = listen(LOCAL, () => {
    throw new Error("the old callback must not be called");
  });
  await turns(); // an accept is in flight
  listener.setCallback(null);
  const clients = await connectAll(listener, 3);
  await until(() => listener.stats.parked === 1);
  assertEquals(listener.stats.accepted, 1);
  listener.setCallback((conn) => {
    ports.push(portOf(conn));
    conn.close();
    if (ports.length === 3) done.resolve();
  });
  await done.promise;
  assertEquals(ports, clients.map(localPort));
  assertEquals(listener.stats.parked, 0);
  clients.forEach((client) => client.close());
});

Deno.test("for await gets each connection in order", async () => {
  const listener = listen(LOCAL);
  const clients = await connectAll(listener, 5);
  const ports: number[] = [];
  for await (const conn of listener) {
    ports.push(portOf(conn));
    conn.close();
    if (ports.length === 5) break;
  }
  assertEquals(ports, clients.map(localPort));
  assertEquals(listener.state, "closed");
  clients.forEach((client) => client.close());
});

Deno.test("for await leaves what it has not asked for in the kernel's queue", async () => {
  const listener = listen(LOCAL);
  const clients = await connectAll(listener, 3);
  for await (const conn of listener) {
    await turns();
    assertEquals(listener.stats.accepted, 1);
    conn.close();
    break;
  }
  clients.forEach((client) => client.close());
});

Deno.test("for await ends when the listener is closed, and an accept() rejects", async () => {
  const listener = listen(LOCAL);
  const iterator = listener[Symbol.asyncIterator]();
  const next = iterator.next();
  const accepted = assertRejects(
    () => listener.accept(),
    Deno.errors.BadResource,
    "Listener has been closed",
  );
  await listener.close();
  assertEquals(await next, { value: undefined, done: true });
  await accepted;
  assertEquals(await iterator.next(), { value: undefined, done: true });
  await assertRejects(() => listener.accept(), Deno.errors.BadResource);
});

Deno.test("return() of the iterator gives the value back", async () => {
  const iterator = listen(LOCAL)[Symbol.asyncIterator]();
  assertEquals(iterator[Symbol.asyncIterator](), iterator);
  assertEquals(await iterator.return?.(5), { value: 5, done: true });
});

Deno.test("accept() calls that wait together are served in order", async () => {
  await using listener = listen(LOCAL);
  const accepts = [listener.accept(), listener.accept(), listener.accept()];
  const clients = await connectAll(listener, 3);
  const conns = await Promise.all(accepts);
  assertEquals(conns.map(portOf), clients.map(localPort));
  for (const conn of [...conns, ...clients]) conn.close();
});

Deno.test("a callback and a waiting accept() exclude each other", async () => {
  await using listener = listen(LOCAL, () => {});
  const message = "Cannot accept as a callback gets every connection";
  await assertRejects(() => listener.accept(), TypeError, message);
  await assertRejects(
    () => listener[Symbol.asyncIterator]().next(),
    TypeError,
    message,
  );
  listener.setCallback(null);
  const accepted = listener.accept();
  assertThrows(
    () => listener.setCallback(() => {}),
    TypeError,
    "Cannot set a callback as an accept() is waiting",
  );
  listener.setCallback(null);
  using client = await connect(listener);
  using conn = await accepted;
  assertEquals(portOf(conn), localPort(client));
});

Deno.test("ConnListener() takes the connections of a socket that is already listening", async () => {
  const socket = Deno.listen(LOCAL);
  const clients = await connectAll(socket, 1);
  await using listener = new ConnListener(socket, {}, async (conn) => {
    await conn.write(new TextEncoder().encode("hello"));
  });
  assertEquals(listener.socket, socket);
  assertEquals(listener.addr, socket.addr);
  assertEquals(await readAll(clients[0]!), "hello");
});

Deno.test("ConnListener() ends when its socket is closed by its owner", async () => {
  const socket = Deno.listen(LOCAL);
  const listener = new ConnListener(socket, {}, () => {});
  await turns();
  socket.close();
  await listener.finished;
  assertEquals(listener.state, "closed");
  assertEquals(listener.stats.acceptErrors, 0);
});

Deno.test("ConnListener() may be made around a ConnListener", async () => {
  const inner = listen(LOCAL);
  const outer = new ConnListener(inner);
  const accepted = outer.accept();
  using client = await connect(outer);
  using conn = await accepted;
  assertEquals(portOf(conn), localPort(client));
  await outer.close();
  assertEquals(inner.state, "closed");
  Deno.listen({ ...LOCAL, port: inner.addr.port }).close();
});

Deno.test("listen() with a Unix socket", {
  ignore: Deno.build.os === "windows",
}, async () => {
  const path = `${await Deno.makeTempDir()}/listener.sock`;
  await using listener = listen({ transport: "unix", path }, async (conn) => {
    await conn.write(new TextEncoder().encode("hello"));
  });
  assertEquals(listener.addr, { transport: "unix", path });
  assert(Deno.inspect(listener).includes(path));
  const client = await Deno.connect({ transport: "unix", path });
  assertEquals(await readAll(client), "hello");
});

Deno.test("a callback that pauses, closes or detaches gets nothing after that", async () => {
  for (const verb of ["pause", "close", "detach", "free"] as const) {
    let calls = 0;
    const called = Promise.withResolvers<void>();
    const listener = listen(
      { ...LOCAL, flags: LEV_OPT_DISABLED },
      (conn, listener) => {
        calls++;
        conn.close();
        listener[verb]();
        called.resolve();
      },
    );
    const clients = await connectAll(listener, 3);
    listener.resume();
    await called.promise;
    await turns();
    assertEquals([verb, calls], [verb, 1]);
    listener.socket[Symbol.dispose]();
    await listener.close();
    for (const client of clients) assert(await isClosed(client));
    clients.forEach((client) => client.close());
  }
});
