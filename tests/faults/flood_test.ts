/** More clients at once than the limit lets in. */
import { type ConnListener, listen } from "@evconn/listener";
import { assertEquals, assertLessOrEqual } from "@std/assert";
import { until } from "../helpers/clients.ts";
import { ask, echo } from "../helpers/faults.ts";

/** As many as any system lets wait in the queue. */
const COUNT = 120;
const bind = { hostname: "127.0.0.1", port: 0 };

/** So many clients, connected one after the other. */
async function connect(
  listener: ConnListener,
  count: number,
): Promise<Deno.TcpConn[]> {
  const clients: Deno.TcpConn[] = [];
  for (let i = 0; i < count; i++) {
    clients.push(await Deno.connect({ ...bind, port: listener.addr.port }));
  }
  return clients;
}

Deno.test('a flood with overflow "queue" is served to the last client, in order', async () => {
  let most = 0;
  const order: number[] = [];
  await using listener = listen(
    { ...bind, maxConnections: 5 },
    async (conn, listener) => {
      order.push(conn.remoteAddr.port);
      most = Math.max(most, listener.stats.active + 1); // this one counts as well
      await echo(conn);
    },
  );
  const clients = await connect(listener, COUNT);
  for (const [i, client] of clients.entries()) {
    const text = new TextEncoder().encode(`client ${i}`);
    await client.write(text);
    const answer = new Uint8Array(100);
    assertEquals(await client.read(answer), text.length);
    assertEquals(answer.subarray(0, text.length), text);
    assertLessOrEqual(listener.stats.active, 5);
    // The others have got as far as they can, and are not beyond the limit.
    await until(
      () => listener.stats.active === Math.min(5, COUNT - i),
      "the limit is reached",
    );
    client.close();
  }
  assertEquals(most, 5);
  assertEquals(order, clients.map((client) => client.localAddr.port));
  await until(() => listener.stats.active === 0, "all have left");
  assertEquals(listener.holds, []);
  assertEquals(await ask(listener.addr, "afterwards"), "afterwards");
});

Deno.test('a flood with overflow "reject" is turned away at once', async () => {
  const limit = { maxConnections: 5, overflow: "reject" } as const;
  await using listener = listen({ ...bind, ...limit }, echo);
  const served = await connect(listener, 5);
  await until(() => listener.stats.active === 5, "the limit is reached");

  for (const client of await connect(listener, 200)) {
    assertEquals(await client.read(new Uint8Array(1)), null);
    client.close();
  }
  assertEquals(listener.stats.rejected, 200);
  assertEquals(listener.stats.active, 5);

  for (const client of served) client.close();
  await until(() => listener.stats.active === 0, "all have left");
  assertEquals(await ask(listener.addr, "afterwards"), "afterwards");
});

for (const overflow of ["queue", "reject"] as const) {
  Deno.test(`maxConnections changes up and down under load with overflow "${overflow}"`, async () => {
    await using listener: ConnListener = listen(
      { ...bind, maxConnections: 1, overflow },
      async (conn) => {
        // A lower limit lets those above it end, but nobody may come in above it.
        assertLessOrEqual(listener.stats.active + 1, listener.maxConnections);
        await echo(conn);
      },
    );
    let answered = 0;
    let turnedAway = 0;
    let over = false;
    const client = async (name: number) => {
      for (let i = 0; !over; i++) {
        const text = `${name}: ${i}`;
        const answer = await ask(listener.addr, text).catch(() => "");
        if (answer === text) answered++;
        else turnedAway++;
      }
    };
    const clients = Array.from({ length: 30 }, (_, i) => client(i));
    for (const limit of [20, 3, 50, 1, 7, Infinity, 2]) {
      listener.maxConnections = limit;
      const before = answered;
      await until(() => answered >= before + 30, "thirty more are served");
    }
    over = true;
    await Promise.all(clients);

    assertEquals(listener.stats.connectionErrors, 0);
    if (overflow === "queue") assertEquals(turnedAway, 0);
    else assertEquals(listener.stats.rejected, turnedAway);
    await until(() => listener.stats.active === 0, "all have left");
    assertEquals(listener.holds, []);
    assertEquals(await ask(listener.addr, "afterwards"), "afterwards");
  });
}
