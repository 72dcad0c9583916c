/** One service with several workers: parallel.ts. */
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertNotEquals,
  assertRejects,
  assertThrows,
} from "@std/assert";
import {
  listenParallel,
  type ParallelOptions,
  serveParallel,
} from "@evconn/listener/parallel";
import { freePort } from "../helpers/free_port.ts";
import { connect, connectAll, until } from "../helpers/clients.ts";
import { HAS_LOCKS } from "../helpers/this_deno.ts";
import {
  ask,
  newStop,
  startCommands,
  workerModule,
} from "../helpers/parallel_service.ts";

const ALL = { hostname: "127.0.0.1", port: 0, workers: 2 };

Deno.test("listenParallel() serves with all its workers on one port", async () => {
  await using service = await startCommands({ workers: 3 });
  assertEquals(
    [service.workers, service.mode, service.state],
    [3, "shared", "listening"],
  );
  const clients = await connectAll(service, 30);
  const ids = await Promise.all(clients.map((client) => ask(client, "id")));
  assertEquals(new Set(ids).size, 3);
  for (const client of clients) client.close();
});

Deno.test("listenParallel() has as many workers as there are cores, if not told", async () => {
  await using service = await listenParallel(workerModule("commands"), {
    port: 0,
  });
  assertEquals(service.workers, navigator.hardwareConcurrency);
  assertEquals(service.addr.hostname, "0.0.0.0");
});

Deno.test("listenParallel() rejects if the port is taken, by this process too", async () => {
  await using service = await startCommands();
  const { port } = service.addr;
  await assertRejects(() => startCommands({ port }), Deno.errors.AddrInUse);

  using other = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  await assertRejects(
    () => startCommands({ port: other.addr.port }),
    Deno.errors.AddrInUse,
  );
});

Deno.test("listenParallel() rejects with what a worker throws at its start, and leaves nothing behind", async () => {
  const port = freePort();
  const error = await assertRejects(() =>
    listenParallel(workerModule("throws"), { ...ALL, port })
  );
  assertInstanceOf(error, Error);
  assert(error.message.includes("thrown at the start"), error.message);
  listenAgain({ addr: { hostname: "127.0.0.1", port } });
});

Deno.test("listenParallel() rejects if a worker serves twice", async () => {
  await assertRejects(
    () => listenParallel(workerModule("twice"), ALL),
    Error,
    "this worker serves already",
  );
});

Deno.test("listenParallel() rejects if the module is not there", async () => {
  const port = freePort();
  await assertRejects(
    () => listenParallel(workerModule("missing"), { ...ALL, port }),
    Error,
  );
  listenAgain({ addr: { hostname: "127.0.0.1", port } });
});

/** Throws if an address is not free. */
function listenAgain({ addr }: { addr: { hostname: string; port: number } }) {
  const { hostname, port } = addr;
  Deno.listen({ hostname, port }).close();
}

Deno.test("listenParallel() refuses bad input before anything is opened", async () => {
  const refused: [Record<string, unknown>, new () => Error, string][] = [
    [
      { workers: 0 },
      RangeError,
      "Cannot listen as 'workers' must be a positive integer: received 0",
    ],
    [{ workers: 1.5 }, RangeError, "received 1.5"],
    [{ workers: Infinity }, RangeError, "received Infinity"],
    [{ workers: "2" }, TypeError, 'received "2"'],
    [{ tcpBacklog: 0 }, RangeError, "'tcpBacklog'"],
    [{ signal: "now" }, TypeError, "'signal' must be an AbortSignal"],
    [{ onWorkerError: 1 }, TypeError, "'onWorkerError' must be a function"],
    [{ data: () => {} }, DOMException, "could not be cloned"],
    [
      { transport: "unix", path: "/tmp/x" },
      Deno.errors.NotSupported,
      'the transport "unix": Deno lets threads share the queue of a TCP socket only',
    ],
    [{ cert: "", key: "" }, Deno.errors.NotSupported, "with TLS"],
  ];
  for (const [options, ErrorClass, message] of refused) {
    await assertRejects(
      () =>
        listenParallel(workerModule("commands"), {
          ...ALL,
          ...options,
        } as ParallelOptions),
      ErrorClass,
      message,
    );
  }
});

Deno.test("serveParallel() throws where it cannot serve", () => {
  assertThrows(
    () => serveParallel(() => {}),
    TypeError,
    "this is not a worker",
  );
  assertThrows(
    () => serveParallel(() => {}, { maxConnections: 0 }),
    RangeError,
    "'maxConnections'",
  );
  assertThrows(() => serveParallel(null!), TypeError, "callback");
});

Deno.test("connections that are held spread evenly", async () => {
  await using service = await startCommands({ workers: 4 });
  const clients = await connectAll(service, 100);
  await Promise.all(clients.map((client) => ask(client, "id")));
  const { workers } = await service.stats();
  const active = workers.map(({ active }) => active);
  assertEquals(active.reduce((a, b) => a + b), 100);
  assert(Math.min(...active) >= 10 && Math.max(...active) <= 45, `${active}`);
  for (const client of clients) client.close();
});

Deno.test("pause() parks nobody, and resume() goes on with those who wait", async () => {
  await using service = await startCommands();
  await service.pause();
  assertEquals(service.state, "paused");
  const clients = await connectAll(service, 120); // any queue has room for them
  const answers = Promise.all(clients.map((client) => ask(client, "id")));
  for (let i = 0; i < 5; i++) await service.restart();
  const { accepted, parked } = await service.stats();
  assertEquals([accepted, parked], [0, 0]);

  await service.resume();
  assertEquals((await answers).filter((id) => id === null), []);
  for (const client of clients) client.close();
});

Deno.test("setData() changes what callbacks get, in workers that come later, too", async () => {
  const stop = newStop();
  await using service = await startCommands({}, { stop, text: "old" });
  using first = await connect(service);
  assertEquals(await ask(first, "data"), "old");

  await service.setData({ stop, text: "new" });
  using second = await connect(service);
  assertEquals(await ask(second, "data"), "new");
  const restarted = service.restart({ timeout: 0 });
  assertEquals(await first.read(new Uint8Array(1)), null);
  await restarted;
  using third = await connect(service);
  assertEquals(await ask(third, "data"), "new");

  await assertRejects(
    () => service.setData({ stop, text: () => {} }),
    DOMException,
  );
  using fourth = await connect(service);
  assertEquals(await ask(fourth, "data"), "new");
});

Deno.test("restart() replaces every worker, and lets each serve to the end", async () => {
  await using service = await startCommands();
  const clients = await connectAll(service, 10);
  const before = await Promise.all(clients.map((each) => ask(each, "id")));
  const restarted = service.restart();
  // The old ones go on serving those whom they have.
  const after = await Promise.all(clients.map((each) => ask(each, "id")));
  assertEquals(after, before);
  for (const client of clients) client.close();
  await restarted;

  const others = await connectAll(service, 10);
  const ids = await Promise.all(others.map((each) => ask(each, "id")));
  assertEquals(ids.filter((id) => before.includes(id)), []);
  for (const client of others) client.close();
  assertEquals((await service.stats()).accepted, 20);
  assertEquals((await service.stats()).restarts, 0);
});

Deno.test("restart() runs what is in the module by then, and rejects if that fails", async () => {
  const dir = await Deno.makeTempDir();
  const write = (statement: string) =>
    Deno.writeTextFile(
      `${dir}/worker.js`,
      `import { serveParallel } from ${
        JSON.stringify(import.meta.resolve("@evconn/listener/parallel"))
      };
      ${statement}`,
    );
  const say = (text: string) =>
    write(`serveParallel((conn) =>
      conn.write(new TextEncoder().encode("${text}")));`);
  await say("old");
  await using service = await listenParallel(`file://${dir}/worker.js`, ALL);
  const hear = async () => {
    using client = await connect(service);
    return await new Response(client.readable).text();
  };
  assertEquals(await hear(), "old");

  await say("new");
  await service.restart();
  assertEquals(await hear(), "new");

  await write("throw new Error('not ready')");
  await assertRejects(() => service.restart(), Error, "not ready");
  assertEquals([await hear(), await hear()], ["new", "new"]);
  await Deno.remove(dir, { recursive: true });
});

Deno.test("what a worker throws is told, and it is replaced without harm to others", async () => {
  for (
    const [command, ErrorClass, message] of [
      ["throw", Deno.errors.InvalidData, "thrown in a worker"],
      ["reject", TypeError, "rejected in a worker"],
      ["self.close", Error, "Worker has ended"],
      ["exit", Error, "Worker has ended"],
      ["close", Error, "Worker has closed its listener"],
    ] as const
  ) {
    if (message === "Worker has ended" && !HAS_LOCKS) continue;
    const told: [Error, number][] = [];
    const onWorkerError = (...args: [Error, number]) => void told.push(args);
    await using service = await startCommands({ onWorkerError });
    const clients = await connectAll(service, 10);
    const ids = await Promise.all(clients.map((each) => ask(each, "id")));
    const { accepted } = await service.stats();

    assertEquals(await ask(clients[0]!, command), null, command);
    await until(() => told.length === 1);
    const [error, index] = told[0]!;
    assertInstanceOf(error, ErrorClass);
    assertEquals(error.message, message);
    assert(index === 0 || index === 1);
    for (const [i, client] of clients.entries()) {
      if (ids[i] !== ids[0]) assertEquals(await ask(client, "id"), ids[i]);
      client.close();
    }
    let stats;
    do stats = await service.stats(); while (stats.restarts === 0);
    assertEquals(stats.restarts, 1);
    assertEquals(stats.workers.length, 2);
    assert(stats.accepted >= accepted - (command === "exit" ? 10 : 0));
    const others: Deno.TcpConn[] = [];
    const after = new Set<unknown>();
    while (after.size < 2) { // the new worker accepts soon
      const more = await connectAll(service, 10);
      others.push(...more);
      for (const client of more) after.add(await ask(client, "id"));
    }
    for (const client of others) client.close();
  }
});

Deno.test("the queue outlives the only worker, if that throws", async () => {
  const told = Promise.withResolvers<Error>();
  const onWorkerError = told.resolve;
  await using service = await startCommands({ workers: 1, onWorkerError });
  using client = await connect(service);
  await ask(client, "throw");
  await told.promise;
  const clients = await connectAll(service, 20); // nobody is there yet
  const ids = await Promise.all(clients.map((each) => ask(each, "id")));
  assertEquals(new Set(ids).size, 1);
  assertNotEquals(ids[0], null);
  for (const each of clients) each.close();
});

Deno.test("a worker that is blocked keeps nobody waiting but its own clients", async () => {
  const stop = newStop();
  await using service = await startCommands({}, { stop, text: "" });
  using _stop = stop; // before the service waits for its end
  using victim = await connect(service);
  assertEquals(await ask(victim, "block"), "blocked");
  const clients = await connectAll(service, 40);
  const ids = await Promise.all(clients.map((each) => ask(each, "id")));
  assertEquals(new Set(ids).size, 1);
  const { active, workers } = await service.stats(); // by the last word of one of them
  assert(active >= 40 && workers.length === 2, `${active}`);
  for (const client of clients) client.close();
});

Deno.test("shutdown() resolves although a worker is blocked, and says which", async () => {
  using stop = newStop();
  const service = await startCommands({}, { stop, text: "" });
  using victim = await connect(service);
  await ask(victim, "block");
  const [one, other] = await Promise.all([
    service.shutdown(),
    service.shutdown({ timeout: 100 }),
  ]);
  assertEquals(one, other);
  assertEquals(other.unanswered.length, 1);
  assertEquals(service.state, "closed");
  await service.finished;
});

Deno.test("shutdown() serves those in the queue, and waits for those who are served", async () => {
  const service = await startCommands();
  using held = await connect(service);
  await ask(held, "id");
  await service.pause();
  const queued = await connectAll(service, 20);
  const answers = Promise.all(queued.map((each) => ask(each, "id")));
  await service.resume();
  const ended = service.shutdown();
  assertEquals(service.state, "draining");
  assertEquals((await answers).filter((id) => id === null), []);
  for (const client of queued) client.close();
  held.close();
  const { aborted, unanswered } = await ended;
  assertEquals([aborted, unanswered], [0, []]);
  assertEquals(service.state, "closed");
  await service.finished;
  listenAgain(service);
});

Deno.test("shutdown() cuts off after its timeout; a second call brings that forward", async () => {
  const service = await startCommands();
  using client = await connect(service);
  await ask(client, "id");
  const first = service.shutdown();
  const second = service.shutdown({ timeout: 0 });
  assertEquals(await client.read(new Uint8Array(1)), null);
  const result = { completed: 0, aborted: 1, unanswered: [] };
  assertEquals(await first, result);
  assertEquals(await second, result);
});

Deno.test("close() leaves those alone who are served, and the address is free", async () => {
  const service = await startCommands();
  using client = await connect(service);
  const id = await ask(client, "id");
  await service.close();
  assertEquals(service.state, "closed");
  listenAgain(service);
  assertEquals(await ask(client, "id"), id);
  client.closeWrite();
  await service.finished;
  await service.close();
  await service.pause();
  await service.restart();
  assertEquals((await service.stats()).accepted, 1);
  assertEquals(await service.shutdown(), {
    completed: 0,
    aborted: 0,
    unanswered: [],
  });
});

Deno.test("the signal shuts the service down at once", async () => {
  const controller = new AbortController();
  const service = await startCommands({ signal: controller.signal });
  using client = await connect(service);
  await ask(client, "id");
  controller.abort();
  assertEquals(await client.read(new Uint8Array(1)), null);
  await service.finished;
  assertEquals(service.state, "closed");

  const late = await startCommands({ signal: controller.signal });
  await late.finished;
});

Deno.test("a worker that pauses its listener leaves everybody to the others", async () => {
  await using service = await startCommands();
  using first = await connect(service);
  const id = await ask(first, "id");
  assertEquals(await ask(first, "pause"), "paused");
  const clients = await connectAll(service, 20);
  const ids = await Promise.all(clients.map((each) => ask(each, "id")));
  assertEquals(ids.filter((each) => each === null || each === id), []);
  for (const client of clients) client.close();
});

Deno.test("close() and shutdown() end workers that are about to come", async () => {
  for (const verb of ["close", "shutdown"] as const) {
    for (const delay of [0, 5, 10, 20, 30, 40]) {
      const service = await startCommands();
      const restarted = service.restart();
      await new Promise((resolve) => setTimeout(resolve, delay));
      await service[verb]();
      await restarted;
      await service.finished;
      listenAgain(service);
    }
  }
});

Deno.test("what else a worker posts is not taken for a report", async () => {
  await using service = await startCommands();
  using client = await connect(service);
  const id = await ask(client, "id");
  for (const message of ["null", '"hi"', '{"report":"finished"}']) {
    assertEquals(await ask(client, `post ${message}`), "posted");
  }
  const { accepted } = await service.stats();
  assertEquals(accepted, 1);
  assertEquals(await ask(client, "id"), id);
});

Deno.test("the longest timeout that is allowed is no short one", async () => {
  const timeout = 2 ** 31 - 1;
  const service = await startCommands();
  using client = await connect(service);
  await ask(client, "id");
  const restarted = service.restart({ timeout });
  await service.stats();
  assertEquals(typeof await ask(client, "id"), "string");
  client.close();
  await restarted;
  const { unanswered } = await service.shutdown({ timeout });
  assertEquals(unanswered, []);
});

Deno.test("what a worker throws while it serves to the end is told, too", async () => {
  const told = Promise.withResolvers<Error>();
  await using service = await startCommands({
    workers: 1,
    onWorkerError: told.resolve,
  });
  using client = await connect(service);
  const id = await ask(client, "id");
  const restarted = service.restart();
  for (;;) {
    using other = await connect(service);
    if (await ask(other, "id") !== id) break;
  }
  assertEquals(await ask(client, "throw"), null);
  assertInstanceOf(await told.promise, Deno.errors.InvalidData);
  await restarted;
  assertEquals((await service.stats()).restarts, 0);
});

Deno.test("shutdown() tells of a worker that was blocked when it was replaced", async () => {
  const stop = newStop();
  await using service = await startCommands({}, { stop, text: "" });
  using _stop = stop;
  using victim = await connect(service);
  await ask(victim, "block");
  await service.restart({ timeout: 0 });
  const { unanswered } = await service.shutdown({ timeout: 0 });
  assertEquals(unanswered.length, 1);
});

Deno.test("shutdown() does not tell of a worker that was blocked for a while", {
  ignore: !HAS_LOCKS,
}, async () => {
  const stop = newStop();
  const service = await startCommands({}, { stop, text: "" });
  using victim = await connect(service);
  await ask(victim, "block");
  await service.restart({ timeout: 0 });
  stop[Symbol.dispose]();
  assertEquals(await victim.read(new Uint8Array(1)), null); // it has gone
  const { unanswered } = await service.shutdown({ timeout: 0 });
  assertEquals(unanswered, []);
});

Deno.test("a worker that has detached its listener is replaced when it serves nobody", async () => {
  const told = Promise.withResolvers<Error>();
  await using service = await startCommands({
    workers: 1,
    onWorkerError: told.resolve,
  });
  using client = await connect(service);
  assertEquals(await ask(client, "detach"), null);
  const { message } = await told.promise;
  assertEquals(message, "Worker has closed its listener");
  using other = await connect(service);
  assertEquals(typeof await ask(other, "id"), "string");
});
