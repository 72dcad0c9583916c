/** examples/activation/, in this process. */
import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  type ConnectionCallback,
  ConnListener,
  type ListenerOptions,
} from "@evconn/listener";
import { NodeListener } from "../../examples/activation/node_listener.ts";
import {
  connect,
  connectAll,
  isClosed,
  readAll,
  until,
} from "../helpers/clients.ts";
import { echo, exchange, roundTrip, writeAll } from "../helpers/faults.ts";
import { hasEnd } from "../helpers/has_end.ts";

const ADDRESS = { host: "127.0.0.1", port: 0 };

async function listen(
  options: ListenerOptions = {},
  callback: ConnectionCallback | null = echo,
): Promise<ConnListener> {
  return new ConnListener(
    await NodeListener.listen(ADDRESS),
    options,
    callback,
  );
}

Deno.test("NodeListener: accept() gives connections in order, and rejects at the end", async () => {
  const listener = await listen({}, null);
  const accepts = [listener.accept(), listener.accept(), listener.accept()];
  const clients = await connectAll(listener, 2);
  for (const [i, client] of clients.entries()) {
    using conn = await accepts[i]!;
    assertEquals(conn.remoteAddr, client.localAddr);
    assertEquals(conn.localAddr, client.remoteAddr);
  }
  await Promise.all([
    assertRejects(() => accepts[2]!, Deno.errors.BadResource),
    listener.close(),
  ]);
  clients.forEach((client) => client.close());
});

Deno.test("NodeListener: a loop over it ends when it is left", async () => {
  const listener = await listen({}, null);
  using client = await connect(listener);
  for await (const conn of listener) {
    await writeAll(conn, new Uint8Array([7]));
    conn.close();
    break;
  }
  assertEquals(
    await new Response(client.readable).bytes(),
    new Uint8Array([7]),
  );
});

Deno.test("NodeListener: it is a Deno.Listener by itself, too", async () => {
  const socket = await NodeListener.listen(ADDRESS);
  using client = await connect(socket);
  for await (const conn of socket) {
    assertEquals(conn.remoteAddr, client.localAddr);
    conn.close();
    assertThrows(() => conn.close(), Deno.errors.BadResource);
    await assertRejects(() => conn.read(new Uint8Array(1)));
    queueMicrotask(() => socket.close()); // while the loop waits
  }
  assertThrows(() => socket.close(), Deno.errors.BadResource);
  await assertRejects(() => socket.accept(), Deno.errors.BadResource);
  assertEquals(await isClosed(client), true);
});

Deno.test("NodeListener: connections keep half-close, through streams as well", async () => {
  await using listener = await listen({}, async (conn) => {
    const text = await new Response(conn.readable).text().catch(String);
    assertEquals(text, "hello");
  });
  const client = await connect(listener);
  await writeAll(client, new TextEncoder().encode("hello"));
  await client.closeWrite();
  assertEquals(await readAll(client), ""); // closed, as Deno's readable does
  listener.setCallback((conn) => conn.readable.pipeTo(conn.writable));
  const bytes = crypto.getRandomValues(new Uint8Array(65536));
  assertEquals(await exchange(await connect(listener), bytes), bytes);
  listener.setCallback(async (conn) => {
    while (await conn.read(new Uint8Array(2)) !== null);
    await writeAll(conn, new TextEncoder().encode("all read"));
  });
  const answer = await exchange(await connect(listener), bytes);
  assertEquals(new TextDecoder().decode(answer), "all read");
  assertEquals(listener.stats.connectionErrors, 0);
});

Deno.test("NodeListener: the limit of connections holds", async () => {
  const options = { maxConnections: 1, overflow: "reject" } as const;
  await using listener = await listen(options);
  using first = await connect(listener);
  assertEquals(await roundTrip(first, "hello"), "hello");
  using second = await connect(listener);
  assertEquals(await isClosed(second), true);
  assertEquals(await roundTrip(first, "again"), "again");
  const { rejected, connectionErrors } = listener.stats;
  assertEquals([rejected, connectionErrors], [1, 0]);
});

Deno.test("NodeListener: a client that says nothing is cut off", async () => {
  await using listener = await listen({ idleTimeout: 50 });
  using client = await connect(listener);
  assertEquals(await isClosed(client), true);
  const { timedOut, connectionErrors } = listener.stats;
  assertEquals([timedOut, connectionErrors], [1, 0]);
});

Deno.test("NodeListener: a client that reads nothing is cut off", async () => {
  await using listener = await listen({ idleTimeout: 50 }, async (conn) => {
    for (;;) await writeAll(conn, new Uint8Array(65536));
  });
  using _client = await connect(listener);
  await until(() => listener.stats.timedOut === 1);
  await until(() => listener.stats.active === 0);
  assertEquals(listener.stats.connectionErrors, 0);
});

Deno.test("NodeListener: the client's address comes with the PROXY protocol", async () => {
  await using listener = await listen(
    { proxyProtocol: true },
    (conn) =>
      writeAll(conn, new TextEncoder().encode(conn.remoteAddr.hostname)),
  );
  const client = await connect(listener);
  const header = "PROXY TCP4 192.0.2.1 192.0.2.2 50000 443\r\n";
  await writeAll(client, new TextEncoder().encode(header));
  assertEquals(await readAll(client), "192.0.2.1");
});

Deno.test("NodeListener: a shutdown ends who waits in a read, without an error", async () => {
  const listener = await listen();
  using client = await connect(listener);
  assertEquals(await roundTrip(client, "hello"), "hello");
  const result = await listener.shutdown({ timeout: 0 });
  await listener.finished;
  assertEquals(result, { completed: 0, aborted: 1 });
  assertEquals(listener.stats.connectionErrors, 0);
  assertEquals(await isClosed(client), true);
});

Deno.test("NodeListener: who waits while the listener is paused is served later, or closed", async () => {
  const listener = await listen();
  listener.pause();
  const clients = await connectAll(listener, 3);
  listener.resume();
  for (const client of clients) {
    assertEquals(await roundTrip(client, "hello"), "hello");
    client.close();
  }
  listener.pause();
  const late = await connectAll(listener, 3);
  await listener.close();
  for (const client of late) await hasEnd(client);
});
