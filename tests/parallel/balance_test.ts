/** Who gets a connection: internal/parallel/balance.ts, over real sockets. */
import { assert, assertEquals, assertLessOrEqual } from "@std/assert";
import {
  listenParallel,
  type ParallelListener,
  type ParallelOptions,
} from "@evconn/listener/parallel";
import { HAS_BELLS } from "../../internal/parallel/load.ts";
import { connect, isClosed } from "../helpers/clients.ts";
import { untilStats, workerOf } from "../helpers/parallel_service.ts";
import { runProgram } from "../helpers/program.ts";

const HEADER = "PROXY TCP4 192.0.2.1 192.0.2.2 50000 443\r\n";
const HELLO = new Uint8Array([1]);

/** Starts workers that send back what they get, with options of `serveParallel()`. */
function startEcho(
  settings: string,
  options: Partial<ParallelOptions> = {},
): Promise<ParallelListener> {
  const source = `
    const buffer = new Uint8Array(64);
    serveParallel(async (conn) => {
      for (let length; (length = await conn.read(buffer)) !== null;) {
        await conn.write(buffer.subarray(0, length));
      }
    }, ${settings});`;
  return listenParallel(workerOf(source), {
    hostname: "127.0.0.1",
    port: 0,
    workers: 4,
    ...options,
  });
}

/** Connects so many at once. */
function crowd(service: ParallelListener, count: number) {
  return Promise.all(Array.from({ length: count }, () => connect(service)));
}

/** Says hello, and whether there was an answer. */
async function greet(client: Deno.TcpConn): Promise<boolean> {
  await client.write(HELLO).catch(() => {}); // it may be closed already
  return !await isClosed(client);
}

/** What is in the middle. */
function median(numbers: number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)]!;
}

for (
  const [name, settings, header] of [
    ["", "{}", ""],
    [" behind a proxy", "{ proxyProtocol: true }", HEADER],
  ] as const
) {
  Deno.test(`100 that come at once to new workers${name}: none has more than 45`, async () => {
    const most: number[] = [];
    for (let i = 0; i < 5; i++) {
      const service = await startEcho(settings);
      const clients = await crowd(service, 100);
      await Promise.all(clients.map(async (client) => {
        await client.write(new TextEncoder().encode(header));
        assert(await greet(client));
      }));
      const { workers } = await service.stats();
      most.push(Math.max(...workers.map(({ active }) => active)));
      for (const client of clients) client.close();
      await service.shutdown();
    }
    assertLessOrEqual(median(most), 45);
  });
}

Deno.test("100 that wait behind a proxy spread evenly before they are delivered", async () => {
  const service = await startEcho("{ proxyProtocol: true }");
  const clients = await crowd(service, 100);
  const { workers } = await untilStats(
    service,
    ({ waiting }) => waiting === 100,
  );
  const most = Math.max(...workers.map(({ waiting }) => waiting));
  assertLessOrEqual(most, 45);
  for (const client of clients) client.close();
  await service.shutdown();
});

Deno.test("workers that reject turn nobody away while another has room", async () => {
  const service = await startEcho('{ maxConnections: 2, overflow: "reject" }');
  for (let i = 0; i < 5; i++) {
    const clients = [];
    for (let j = 0; j < 8; j++) {
      const client = await connect(service);
      assert(await greet(client), `round ${i}, client ${j}`);
      clients.push(client);
    }
    const { workers, rejected } = await service.stats();
    assertEquals(rejected, i);
    assertEquals(workers.map(({ active }) => active), [2, 2, 2, 2]);
    using late = await connect(service);
    assertEquals(await greet(late), false);

    // There is a place for each that goes. Where workers cannot be woken, it is noticed later.
    for (let j = 0; HAS_BELLS && j < 8; j++) {
      clients.shift()!.close();
      await untilStats(service, ({ active }) => active === 7);
      await service.stats(); // since then, all workers have had a turn
      clients.push(await connect(service));
      const isServed = await greet(clients.at(-1)!);
      assert(isServed, `round ${i}, place ${j}`);
    }
    for (const client of clients) client.close();
    await untilStats(service, ({ active }) => active === 0);
  }
  await service.shutdown();
});

Deno.test("as many clients as places are served although the workers are restarted", async () => {
  const service = await startEcho('{ maxConnections: 4, overflow: "reject" }', {
    workers: 2,
  });
  for (let i = 0; i < 20; i++) {
    const restarted = service.restart();
    const clients = await crowd(service, 8);
    const answers = await Promise.all(clients.map(greet));
    assertEquals(answers, Array(8).fill(true), `restart ${i}`);
    for (const client of clients) client.close();
    await restarted;
    await untilStats(service, ({ active }) => active === 0);
  }
  assertEquals((await service.stats()).rejected, 0);
  await service.shutdown();
});

Deno.test("clients wait in the queue if all workers with room are blocked", async () => {
  const flag = new Int32Array(new SharedArrayBuffer(4));
  const source = `
    const buffer = new Uint8Array(1);
    serveParallel(async (conn, _, flag) => {
      while (await conn.read(buffer) !== null) {
        await conn.write(buffer);
        if (buffer[0] === 2) { while (Atomics.load(flag, 0) === 0); }
      }
    }, { maxConnections: 2, overflow: "reject" });`;
  const service = await listenParallel(workerOf(source), {
    hostname: "127.0.0.1",
    port: 0,
    workers: 2,
    data: flag,
  });
  using first = await connect(service);
  await first.write(new Uint8Array([2]));
  assertEquals(await first.read(new Uint8Array(1)), 1);
  const clients = [await connect(service), await connect(service)];
  assertEquals(await Promise.all(clients.map(greet)), [true, true]);
  using waiting = await connect(service);
  const greeted = greet(waiting);
  const [soon] = await Promise.all([
    Promise.race([greeted, new Promise((go) => setTimeout(go, 300))]),
    service.stats(), // waits for the one that is blocked
  ]);
  assertEquals(soon, undefined);
  Atomics.store(flag, 0, 1);
  assertEquals(await greeted, true);
  for (const client of clients) client.close();
  first.close();
  waiting.close();
  await service.shutdown();
});

Deno.test("workers at rest take no CPU, however uneven they are", async () => {
  const module = (path: string) =>
    JSON.stringify(import.meta.resolve(`../../${path}`));
  const { stdout, stderr } = await runProgram(
    `
    import process from "node:process";
    import { listenParallel } from ${module("parallel.ts")};
    const worker = \`
      import { serveParallel } from ${module("parallel.ts")};
      serveParallel(async (conn, listener) => {
        const say = () =>
          conn.write(new Uint8Array([listener.stats.active, id]));
        const buffer = new Uint8Array(1);
        while (await conn.read(buffer) !== null) await say();
      });
      const id = crypto.getRandomValues(new Uint8Array(1))[0];\`;
    const type = "text/javascript";
    const service = await listenParallel(
      URL.createObjectURL(new Blob([worker], { type })),
      { hostname: "127.0.0.1", port: 0, workers: 8 },
    );
    const clients = await Promise.all(Array.from({ length: 80 }, async () => {
      const client = await Deno.connect(service.addr);
      await client.write(new Uint8Array(1));
      const buffer = new Uint8Array(2);
      await client.read(buffer);
      return { client, id: buffer[1] };
    }));
    // One worker keeps all, the others one each.
    const [{ id: busy }] = clients;
    const kept = new Set();
    let left = clients.length;
    for (const { client, id } of clients) {
      if (id !== busy && kept.has(id)) left--, client.close();
      kept.add(id);
    }
    let stats;
    do stats = await service.stats(); while (stats.active > left);
    const active = stats.workers.map(({ active }) => active);
    clients[0].client.close(); // so that the worker sees that it is ahead
    await new Promise((go) => setTimeout(go, 1500));
    const before = process.cpuUsage();
    await new Promise((go) => setTimeout(go, 3000));
    const { user, system } = process.cpuUsage(before);
    console.log(user + system, Math.max(...active) - Math.min(...active));
    Deno.exit();
    `,
    "--allow-read",
  );
  assertEquals(stderr, "");
  const [us, difference] = stdout.split(" ").map(Number) as [number, number];
  assert(difference >= 4, `${difference}`);
  assertLessOrEqual(us, 8_000); // a look each 50 ms takes 27,000
});
