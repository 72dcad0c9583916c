/** Clients that reset before anybody can accept them, faster than they can be. */
import { type ConnListener, listen } from "@evconn/listener";
import { assertEquals, assertGreater, assertLessOrEqual } from "@std/assert";
import { until } from "../helpers/clients.ts";
import {
  ask,
  descriptors,
  echo,
  FAULTS,
  Program,
  queueOverflows,
  roundTrip,
} from "../helpers/faults.ts";
import { size } from "../helpers/size.ts";

const CLIENTS = size(5000, 20_000);
const bind = { hostname: "127.0.0.1", port: 0, tcpBacklog: 4096 };

/** Blocks the event loop half of the time until it is disposed of. */
function blockHalfOfTheTime(): Disposable {
  const never = new Int32Array(new SharedArrayBuffer(4));
  const timer = setInterval(() => Atomics.wait(never, 0, 0, 20), 40);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

/** Lets the storm pass over a listener; resolves to the round trips made meanwhile. */
async function storm(listener: ConnListener): Promise<number> {
  using _block = blockHalfOfTheTime();
  using established = await Deno.connect({
    hostname: bind.hostname,
    port: listener.addr.port,
  });
  await using clients = Program.deno(
    [FAULTS, "reset", `${listener.addr.port}`, `${CLIENTS}`],
  );
  let over = false;
  const status = clients.status.finally(() => over = true);
  let trips = 0;
  while (!over) {
    const text = `round trip ${++trips}`;
    assertEquals(await roundTrip(established, text), text);
  }
  assertEquals((await status).code, 0, clients.stderr);
  return trips;
}

async function checkStorm(listener: ConnListener): Promise<void> {
  assertEquals(await ask(listener.addr, "before"), "before");
  await until(() => listener.stats.active === 0, "the first client has left");
  const open = descriptors();
  const overflows = queueOverflows();

  assertGreater(await storm(listener), 10);
  assertEquals(await ask(listener.addr, "after"), "after");

  const { accepted, aborted } = listener.stats;
  assertGreater(aborted, 0);
  // Besides the storm: one before, one during, and one after it.
  const unseen = CLIENTS + 3 - accepted - aborted;
  assertLessOrEqual(unseen, queueOverflows() - overflows);
  assertLessOrEqual(0, unseen);
  await until(() => descriptors() <= open, "every descriptor is closed");
}

Deno.test({
  name: "listen() survives a storm of resets with a callback",
  ignore: Deno.build.os !== "linux",
  async fn() {
    await using listener = listen(bind, echo);
    await checkStorm(listener);
    assertEquals(listener.stats.acceptErrors, 0);
  },
});

Deno.test({
  name: "listen() survives a storm of resets while it is iterated over",
  ignore: Deno.build.os !== "linux",
  async fn() {
    await using listener = listen(bind);
    const loop = (async () => {
      for await (const conn of listener) {
        echo(conn).catch(() => {}).finally(() => conn[Symbol.dispose]());
      }
    })();
    await checkStorm(listener);
    await listener.close();
    await loop;
  },
});
