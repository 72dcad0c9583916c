/** Handlers that fail in every way that there is. */
import { type ConnectionCallback, listen } from "@evconn/listener";
import { assertEquals } from "@std/assert";
import { until } from "../helpers/clients.ts";
import { ask, echo, roundTrip } from "../helpers/faults.ts";

const bind = { hostname: "127.0.0.1", port: 0 };
const bug = new Error("a bug in a handler");

/** Waits until the client has spoken, so that closing is not a reset. */
async function heard(conn: Deno.TcpConn): Promise<void> {
  await conn.read(new Uint8Array(100));
}

const faults: Record<string, ConnectionCallback> = {
  throws: () => {
    throw bug;
  },
  rejects: async (conn) => {
    await heard(conn);
    throw bug;
  },
  "rejects after closing": async (conn) => {
    await heard(conn);
    conn.close();
    throw bug;
  },
};

for (const [name, fault] of Object.entries(faults)) {
  for (const hook of ["hears of it", "throws", "rejects"]) {
    Deno.test(`listen() goes on when a handler ${name} and the error hook ${hook}`, async () => {
      const heardOf: unknown[] = [];
      using _quiet = silenced();
      await using listener = listen({
        ...bind,
        maxConnections: 2,
        onConnectionError: (error) => {
          heardOf.push(error);
          if (hook === "throws") throw new Error("a bug in a hook");
          if (hook === "rejects") return Promise.reject(bug) as never;
        },
      }, fault);
      for (let i = 0; i < 5; i++) {
        using client = await Deno.connect({
          ...bind,
          port: listener.addr.port,
        });
        await roundTrip(client, "hello").catch(() => {}); // a reset is fine
      }
      await until(() => listener.stats.active === 0, "all have ended");
      assertEquals(heardOf, [bug, bug, bug, bug, bug]);
      assertEquals(listener.stats.connectionErrors, 5);

      listener.setCallback(echo);
      assertEquals(await ask(listener.addr, "afterwards"), "afterwards");
    });
  }

  Deno.test(`listen() prints the error when a handler ${name} and there is no hook`, async () => {
    using printed = silenced();
    await using listener = listen(bind, fault);
    using client = await Deno.connect({ ...bind, port: listener.addr.port });
    await roundTrip(client, "hello").catch(() => {});
    await until(() => printed.errors.length > 0, "the error is printed");
    assertEquals(printed.errors, [["Error in a connection callback:", bug]]);
  });
}

Deno.test("shutdown() cuts off handlers that never settle", async () => {
  const forever = Promise.withResolvers<void>();
  const listener = listen(
    { ...bind, maxConnections: 3 },
    () => forever.promise,
  );
  const clients = await Promise.all(
    Array.from(
      { length: 3 },
      () => Deno.connect({ ...bind, port: listener.addr.port }),
    ),
  );
  await until(() => listener.stats.active === 3, "all are delivered");
  assertEquals(listener.holds, ["full"]);

  const result = await listener.shutdown({ timeout: 10 });
  assertEquals(result, { completed: 0, aborted: 3 });
  for (const client of clients) {
    assertEquals(await client.read(new Uint8Array(1)), null);
    client.close();
  }
  forever.resolve();
  await listener.finished;
});

/** Keeps console.error from printing; what it was given is in `errors`. */
function silenced(): Disposable & { errors: unknown[][] } {
  const { error } = console;
  const errors: unknown[][] = [];
  console.error = (...args: unknown[]) => void errors.push(args);
  return { errors, [Symbol.dispose]: () => console.error = error };
}
