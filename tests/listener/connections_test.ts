/** connections: who is being served, and how to send somebody away. */
import { assert, assertEquals } from "@std/assert";
import { type ConnListener, listen } from "@evconn/listener";
import { connect, connectAll, isClosed, until } from "../helpers/clients.ts";
import { echo } from "../helpers/faults.ts";
import { isServed } from "../helpers/peer_clients.ts";
import { listenOn, testOver } from "../helpers/transports.ts";

const LOCAL = { hostname: "127.0.0.1", port: 0 };
const closeAll = (conns: Deno.Conn[]) => conns.forEach((conn) => conn.close());

/** Whom a listener serves, by the ports of the clients. */
const served = ({ connections }: ConnListener) =>
  [...connections].map((conn) => conn.remoteAddr.port);
const ports = (clients: Deno.TcpConn[]) =>
  clients.map((client) => client.localAddr.port);

/** Connects so many clients that are served. */
async function enter(
  listener: ConnListener,
  count: number,
): Promise<Deno.TcpConn[]> {
  const clients = await connectAll(listener, count);
  for (const client of clients) assert(await isServed(client));
  return clients;
}

Deno.test("connections are in the order of arrival, whoever has left before", async () => {
  await using listener = listen(LOCAL, echo);
  assertEquals(served(listener), []);
  const clients = await enter(listener, 6);
  assertEquals(served(listener), ports(clients));
  for (const gone of [4, 1, 0, 2]) {
    clients.splice(gone, 1)[0]!.close();
    await until(() => listener.stats.active === clients.length);
    clients.push(...await enter(listener, 1));
    assertEquals(served(listener), ports(clients));
  }
  clients.push(...await enter(listener, 3));
  assertEquals(served(listener), ports(clients));
  closeAll(clients);
  await until(() => listener.stats.active === 0);
  assertEquals(served(listener), []);
});

Deno.test("connections is always what there is now", async () => {
  await using listener = listen(LOCAL, echo);
  const { connections } = listener;
  const clients = await enter(listener, 2);
  assertEquals([...connections].length, 2);
  closeAll(clients);
  await until(() => listener.stats.active === 0);
  assertEquals([...connections], []);
});

Deno.test("connections leaves out who ends while it is iterated, and who comes then", async () => {
  await using listener = listen(LOCAL, echo);
  const clients = await enter(listener, 5);
  const seen: number[] = [];
  for (const conn of listener.connections) {
    seen.push(conn.remoteAddr.port);
    if (seen.length > 1) continue;
    clients[1]!.close();
    clients[3]!.close();
    await until(() => listener.stats.active === 3);
    clients.push(...await enter(listener, 2)); // in the places that are free
  }
  assertEquals(seen, ports([clients[0]!, clients[2]!, clients[4]!]));
  assertEquals(served(listener).length, 5);
  closeAll(clients.filter((_, i) => i !== 1 && i !== 3));
});

Deno.test("connections may all be closed in a loop over it", async () => {
  await using listener = listen(LOCAL, echo);
  const clients = await enter(listener, 10);
  let closed = 0;
  for (const conn of listener.connections) {
    conn.close();
    closed++;
  }
  assertEquals(closed, 10);
  for (const client of clients) assert(await isClosed(client));
  await until(() => listener.stats.active === 0);
  assertEquals(listener.stats.connectionErrors, 0);
  closeAll(clients);
});

testOver(
  "connections are closed to send clients away, which is no error",
  async (transport) => {
    const told: unknown[] = [];
    await using listener = listenOn(transport, {
      onConnectionError: (error) => told.push(error),
    }, echo);
    using client = await transport.connect(listener);
    assert(await isServed(client));
    for (const conn of listener.connections) conn.close();
    assertEquals(await client.read(new Uint8Array(1)).catch(() => null), null);
    await until(() => listener.stats.active === 0);
    assertEquals([told, listener.stats.connectionErrors], [[], 0]);
  },
);

Deno.test("connections has neither those of callbacks without a promise nor of accept()", async () => {
  const kept: Deno.TcpConn[] = [];
  await using listener = listen(LOCAL, (conn) => void kept.push(conn));
  using first = await connect(listener);
  await until(() => kept.length === 1);
  assertEquals(served(listener), []);
  listener.setCallback(null);
  using second = await connect(listener);
  kept.push(await listener.accept());
  assertEquals(served(listener), []);
  assertEquals(
    kept.map((conn) => conn.remoteAddr.port),
    ports([first, second]),
  );
  closeAll(kept);
});

Deno.test("connections has those that a shutdown() waits for", async () => {
  const listener = listen(LOCAL, echo);
  const clients = await enter(listener, 2);
  const ended = listener.shutdown();
  assertEquals(served(listener), ports(clients));
  for (const conn of listener.connections) conn.close();
  assertEquals(await ended, { completed: 2, aborted: 0 });
  closeAll(clients);
});
