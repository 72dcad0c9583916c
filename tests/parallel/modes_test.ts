/** How workers share a port, and what there is where they cannot: internal/parallel/place.ts. */
import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import { findPlace, type Share } from "../../internal/parallel/place.ts";
import { ParallelSettings } from "../../internal/parallel/options.ts";
import { ParallelService } from "../../internal/parallel/service.ts";
import { connect, connectAll } from "../helpers/clients.ts";
import { ask, newStop, workerModule } from "../helpers/parallel_service.ts";
import { runProgram } from "../helpers/program.ts";

/** As Deno would be if it did not know `loadBalanced`. */
const cannotShare: Share = (bind) => Deno.listen(bind);
const BIND = { hostname: "127.0.0.1", port: 0, tcpBacklog: 10 };

/** Keeps `console.warn` from printing, until the end of the scope. */
function quietWarnings() {
  const warnings: unknown[][] = [];
  const { warn } = console;
  console.warn = (...args) => void warnings.push(args);
  return Object.assign(warnings, {
    [Symbol.dispose]: () => void (console.warn = warn),
  });
}

Deno.test("findPlace() finds a port, and that Deno shares it among threads", () => {
  const { place, addr } = findPlace({ ...BIND, hostname: "localhost" });
  assertEquals(place.mode, "shared");
  assertEquals(place.port, addr.port);
  assertMatch(addr.hostname, /^(127\.0\.0\.1|::1)$/);
  findPlace({ ...BIND, port: place.port }); // it is free
});

Deno.test("findPlace() throws if a port is taken, also by a socket that is shared", () => {
  const { port } = findPlace(BIND).addr;
  const bind = { ...BIND, port };
  using _shared = Deno.listen(
    { ...bind, loadBalanced: true } as Deno.TcpListenOptions,
  );
  assertThrows(() => findPlace(bind), Deno.errors.AddrInUse);
});

Deno.test("without shared sockets and SO_REUSEPORT there is one worker, and one warning", async () => {
  const options = {
    ...BIND,
    workers: 3,
    data: { stop: newStop(), text: "hello" },
  };
  using warnings = quietWarnings();
  const service = new ParallelService(
    new ParallelSettings(workerModule("commands"), options),
    cannotShare,
  );
  await service.start();
  assertEquals([...warnings], [[
    "Listening with one worker: this Deno cannot share a port among threads",
  ]]);
  assertEquals([service.mode, service.workers], ["single", 1]);
  using before = await connect(service);
  const id = await ask(before, "id");
  before.close();
  await service.restart();
  const clients = await connectAll(service, 10);
  const ids = await Promise.all(clients.map((each) => ask(each, "id")));
  assertEquals(new Set(ids).size, 1);
  assertEquals(ids.includes(id), false);

  await service.pause();
  const waiting = await connect(service);
  const answer = ask(waiting, "data");
  await service.resume();
  assertEquals(await answer, "hello");
  for (const client of [...clients, waiting]) client.close();
  const { unanswered } = await service.shutdown();
  assertEquals(unanswered, []);
});

Deno.test(
  "without shared sockets, workers have queues of their own with --unstable-net",
  {
    ignore: Deno.build.os !== "linux",
  },
  async () => {
    const module = (path: string) =>
      JSON.stringify(import.meta.resolve(`../../internal/parallel/${path}.ts`));
    const worker = `import { serveParallel } from ${
      JSON.stringify(import.meta.resolve("../../parallel.ts"))
    };
  const id = crypto.randomUUID();
  serveParallel((conn) => conn.write(new TextEncoder().encode(id)));`;
    const { stdout, stderr } = await runProgram(
      `
    import { ParallelSettings } from ${module("options")};
    import { ParallelService } from ${module("service")};
    const worker = ${JSON.stringify(worker)};
    const service = new ParallelService(
      new ParallelSettings(
        URL.createObjectURL(new Blob([worker], { type: "text/javascript" })),
        { hostname: "127.0.0.1", port: 0, workers: 2 },
      ),
      (bind) => Deno.listen(bind),
    );
    await service.start();
    const ask = async () => {
      const client = await Deno.connect({ port: service.addr.port });
      return await new Response(client.readable).text();
    };
    const ids = new Set();
    while (ids.size < 2) ids.add(await ask());
    await service.restart();
    const after = new Set();
    while (after.size < 2) after.add(await ask());
    const { unanswered } = await service.shutdown();
    console.log(service.mode, new Set([...ids, ...after]).size, unanswered);
    await service.finished;
    `,
      "--unstable-net",
      "--allow-read",
    );
    assertEquals([stderr, stdout], ["", "reusePort 4 []"]);
  },
);
