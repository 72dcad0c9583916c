/** Threads that are replaced: each is in one state, and counted once. */
import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { listenParallel } from "@evconn/listener/parallel";
import { connect, connectAll } from "../helpers/clients.ts";
import {
  ask,
  newStop,
  startCommands,
  untilStats,
  workerOf,
} from "../helpers/parallel_service.ts";

/** Connects until no worker of some answers any more. */
async function newWorkersOnly(
  service: Parameters<typeof connect>[0],
  old: Iterable<string | null>,
): Promise<void> {
  const gone = new Set(old);
  for (let inARow = 0; inARow < 20; inARow++) {
    using client = await connect(service);
    if (gone.has(await ask(client, "id"))) inARow = 0;
  }
}

Deno.test("restart() puts the new code everywhere although a client stays", async () => {
  await using service = await startCommands({ workers: 4 });
  const clients = await connectAll(service, 40);
  const before = await Promise.all(clients.map((each) => ask(each, "id")));
  assertEquals(new Set(before).size, 4);
  const restarted = service.restart();
  await newWorkersOnly(service, before);
  for (const client of clients.slice(1)) client.close();
  // The second one does not wait until the client of the first has gone.
  const again = service.restart();
  using one = await connect(service);
  const newer = await ask(one, "id");
  await newWorkersOnly(service, [newer, ...before]);
  one.close();
  await again;
  assertEquals(await ask(clients[0]!, "id"), before[0]);
  clients[0]!.close();
  await restarted;
});

Deno.test("stats() counts a thread once that dies while its successor starts", async () => {
  const told = Promise.withResolvers<Error>();
  await using service = await startCommands({
    workers: 1,
    onWorkerError: told.resolve,
  });
  const clients = await connectAll(service, 3);
  await Promise.all(clients.map((each) => ask(each, "id")));
  const restarted = service.restart();
  await ask(clients[0]!, "throw");
  await told.promise;
  await restarted;
  const { accepted, active, restarts } = await service.stats();
  assertEquals({ accepted, active, restarts }, {
    accepted: 3,
    active: 0,
    restarts: 0,
  });
  using client = await connect(service);
  assertNotEquals(await ask(client, "id"), null);
  for (const each of clients) each.close();
});

Deno.test("shutdown() during a restart ends both generations, and counts from then on", async () => {
  await using service = await startCommands({ workers: 2 });
  const old = await connectAll(service, 8);
  const before = await Promise.all(old.map((each) => ask(each, "id")));
  const restarted = service.restart();
  await newWorkersOnly(service, before);
  // Three complete before, one after, and four are cut off; so is the new one.
  for (const client of old.slice(0, 3)) client.close();
  using young = await connect(service);
  await ask(young, "id");
  await untilStats(service, ({ active }) => active === 6);
  const first = service.shutdown();
  await service.stats(); // all workers have heard of it
  old[3]!.close();
  await untilStats(service, ({ active }) => active === 5);
  const { completed, aborted } = await service.shutdown({ timeout: 0 });
  assertEquals({ completed, aborted }, { completed: 1, aborted: 5 });
  assertEquals((await first).completed, 1);
  await restarted;
  await service.finished;
  for (const client of old.slice(4)) client.close();
});

Deno.test("a slot of a thread that has ended keeps nobody back", async () => {
  using stop = newStop();
  await using service = await startCommands({ workers: 2 }, { stop, text: "" });
  for (let i = 0; i < 3; i++) {
    const clients = await connectAll(service, 12);
    await Promise.all(clients.map((each) => ask(each, "id")));
    await service.restart({ timeout: 0 });
    for (const client of clients) client.close();
  }
  const clients = await connectAll(service, 40);
  await Promise.all(clients.map((each) => ask(each, "id")));
  const { workers } = await service.stats();
  for (const { active } of workers) assert(active >= 8, `${active}`);
  for (const client of clients) client.close();
});

Deno.test("a worker that leaves serves a client that is ready when a hold of its own ends", async () => {
  const hold = new SharedArrayBuffer(4);
  const flag = new Int32Array(hold);
  const service = await listenParallel(
    workerOf(`
      let held, timer;
      serveParallel(async (conn, listener, flag) => {
        await conn.write(new TextEncoder().encode("served"));
        if (held) return;
        held = listener.hold("database");
        timer = setInterval(() => {
          if (flag[0] === 0) return;
          held[Symbol.dispose]();
          clearInterval(timer);
        }, 5);
      }, { proxyProtocol: true });
    `),
    { hostname: "127.0.0.1", port: 0, workers: 1, data: flag },
  );
  const header = new TextEncoder().encode(
    "PROXY TCP4 192.0.2.1 192.0.2.2 50000 443\r\n",
  );
  // Both are accepted before the first one makes the hold.
  using first = await connect(service);
  using second = await connect(service);
  await untilStats(service, ({ waiting }) => waiting === 2);
  await first.write(header);
  const buffer = new Uint8Array(16);
  assertEquals(await first.read(buffer), 6);
  await second.write(header);
  const restarted = service.restart();
  using third = await connect(service);
  await third.write(header);
  assertEquals(await third.read(buffer), 6); // by the new thread
  Atomics.store(flag, 0, 1);
  assertEquals(await second.read(buffer), 6);
  await restarted;
  await service.shutdown();
});
