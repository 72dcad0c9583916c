/** Peers that are gone, or might as well be. */
import { listen } from "@evconn/listener";
import { assertEquals } from "@std/assert";
import net from "node:net";
import { until } from "../helpers/clients.ts";
import { ask, echo, FAULTS, Program, roundTrip } from "../helpers/faults.ts";

const bind = { hostname: "127.0.0.1", port: 0 };

/** A handler that has more to say than anybody listens to. */
async function talk(conn: Deno.TcpConn): Promise<void> {
  const bytes = new Uint8Array(64 * 1024);
  for (;;) await conn.write(bytes);
}

Deno.test("listen() is not held up by peers that connect and say nothing", async () => {
  await using listener = listen(bind, echo);
  const silent = await Promise.all(
    Array.from(
      { length: 100 },
      () => Deno.connect({ ...bind, port: listener.addr.port }),
    ),
  );
  assertEquals(await ask(listener.addr, "I do speak"), "I do speak");
  for (const client of silent) client.close();
});

Deno.test("listen() answers a peer that has closed its side", async () => {
  await using listener = listen(bind, echo);
  using client = await Deno.connect({ ...bind, port: listener.addr.port });
  await client.write(new TextEncoder().encode("last words"));
  await client.closeWrite();
  const answer = await new Response(client.readable).text();
  assertEquals(answer, "last words");
});

Deno.test("listen() ends the connection of a peer that resets in the middle of a write", async () => {
  using errors = printed();
  await using listener = listen(bind, talk);
  for (let i = 0; i < 10; i++) {
    const closed = Promise.withResolvers<void>();
    const client = net.connect(listener.addr.port, bind.hostname);
    client.once("data", () => client.resetAndDestroy());
    client.once("close", () => closed.resolve());
    await closed.promise;
  }
  await until(() => listener.stats.active === 0, "all have ended");
  assertEquals(listener.stats.connectionErrors, 0);
  assertEquals(errors.all, []); // a peer that goes away is no news

  listener.setCallback(echo);
  assertEquals(await ask(listener.addr, "afterwards"), "afterwards");
});

Deno.test("listen() ends the connections of a process that was killed", async () => {
  using errors = printed();
  await using listener = listen(bind, echo);
  {
    await using clients = Program.deno(
      [FAULTS, "hold", `${listener.addr.port}`, "20"],
    );
    await clients.lineAfter("holding");
    assertEquals(listener.stats.active, 20);
    clients.kill("SIGKILL");
  }
  await until(() => listener.stats.active === 0, "all have ended");
  assertEquals(errors.all, []);
  assertEquals(await ask(listener.addr, "afterwards"), "afterwards");
});

Deno.test("listen() serves while half of its peers have stalled in the middle", async () => {
  await using listener = listen({ ...bind, maxConnections: 20 }, echo);
  const port = listener.addr.port;
  const stalled = await Promise.all(
    Array.from({ length: 10 }, async () => {
      const client = await Deno.connect({ ...bind, port });
      await roundTrip(client, "and then I");
      return client;
    }),
  );
  for (let i = 0; i < 50; i++) {
    assertEquals(await ask({ port }, `client ${i}`), `client ${i}`);
  }
  for (const client of stalled) client.close();
});

/** What is printed as an error or a warning, in place of printing it. */
function printed(): Disposable & { all: unknown[][] } {
  const { error, warn } = console;
  const all: unknown[][] = [];
  console.error = console.warn = (...args: unknown[]) => void all.push(args);
  return {
    all,
    [Symbol.dispose]: () => void Object.assign(console, { error, warn }),
  };
}
