/** How workers come up, and what is said of those that do not. */
import { assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import { listenParallel } from "@evconn/listener/parallel";
import { connect } from "../helpers/clients.ts";
import { freePort } from "../helpers/free_port.ts";
import { ask, startCommands, workerOf } from "../helpers/parallel_service.ts";
import { HAS_LOCKS } from "../helpers/this_deno.ts";

const ALL = { hostname: "127.0.0.1", port: 0, workers: 2 };
const ECHO = `serveParallel((conn) => conn.readable.pipeTo(conn.writable));`;
/** Never the right one: a test would wait for it. */
const TOO_LATE = "Worker does not listen after 30 s";

Deno.test("listenParallel() rejects at once if a module does not call serveParallel()", async () => {
  const port = freePort();
  for (const source of ["", `setTimeout(() => { ${ECHO} }, 1);`]) {
    await assertRejects(
      () => listenParallel(workerOf(source), { ...ALL, port }),
      Error,
      "its module was evaluated and has not called serveParallel()",
    );
    Deno.listen({ hostname: "127.0.0.1", port }).close(); // it is free
  }
});

Deno.test("listenParallel() rejects at once if a module ends its worker", {
  ignore: !HAS_LOCKS,
}, async () => {
  for (const end of ["self.close();", "Deno.exit();"]) {
    await assertRejects(
      () => listenParallel(workerOf(`${end} await new Promise(() => {})`), ALL),
      Error,
      "Worker has ended itself before it has called serveParallel()",
    );
    await assertRejects(
      () => listenParallel(workerOf(`${ECHO} ${end}`), ALL),
      Error,
      "Worker has ended",
    );
  }
});

Deno.test("listenParallel() rejects with the class and the code of what a module throws", async () => {
  for (
    const source of [
      `throw new Deno.errors.NotFound("no database");`,
      `await Promise.reject(new Deno.errors.NotFound("no database"));`,
      `${ECHO} throw new Deno.errors.NotFound("no database");`,
    ]
  ) {
    await assertRejects(
      () => listenParallel(workerOf(source), ALL),
      Deno.errors.NotFound,
      "no database",
    );
  }
});

Deno.test("listenParallel() says what keeps a module from being evaluated", async () => {
  // Its 30 s are over at once.
  const { setTimeout } = globalThis;
  using _clock = {
    [Symbol.dispose]: () => void Object.assign(globalThis, { setTimeout }),
  };
  Object.assign(globalThis, {
    setTimeout: (callback: () => void, ms: number) =>
      setTimeout(callback, ms === 30_000 ? 300 : ms),
  });
  await assertRejects(
    () => listenParallel(workerOf("await new Promise(() => {});"), ALL),
    Error,
    `${TOO_LATE}: its module is not evaluated, as a top-level await`,
  );
});

Deno.test("a worker listens when its module is evaluated to the end", async () => {
  const service = await listenParallel(
    workerOf(`
      serveParallel((conn) => conn.write(answer));
      await new Promise((resolve) => setTimeout(resolve, 100));
      const answer = new Uint8Array([42]);
    `),
    ALL,
  );
  using client = await connect(service);
  const buffer = new Uint8Array(1);
  await client.read(buffer);
  assertEquals(buffer[0], 42);
  await service.shutdown();
});

Deno.test("restart() rejects if a module does not serve, and the old workers go on", async () => {
  const dir = await Deno.makeTempDir();
  const path = `${dir}/worker.js`;
  const serves = await (await fetch(workerOf(ECHO))).text();
  await Deno.writeTextFile(path, serves);
  const service = await listenParallel(`file://${path}`, ALL);
  using before = await connect(service);
  assertEquals(await ask(before, "hello"), "hello");
  await Deno.writeTextFile(path, "export {};");
  await assertRejects(() => service.restart(), Error, "serveParallel()");
  assertEquals(await ask(before, "hello"), "hello");
  using after = await connect(service);
  assertEquals(await ask(after, "hello"), "hello");
  await service.shutdown({ timeout: 0 });
  await Deno.remove(dir, { recursive: true });
});

Deno.test("listenParallel() rejects with the signal's reason if that is aborted meanwhile", async () => {
  const reason = new Error("no longer wanted");
  for (const ms of [0, 10, 30]) {
    const port = freePort();
    const controller = new AbortController();
    const started = startCommands({ port, signal: controller.signal });
    setTimeout(() => controller.abort(reason), ms);
    const service = await started.catch((error) => error);
    if (service !== reason) await service.finished; // it was up before
    Deno.listen({ hostname: "127.0.0.1", port }).close(); // it is free
    if (ms === 0) assertStrictEquals(service, reason);
  }
});

Deno.test("listenParallel() gives a closed service if the signal is aborted before", async () => {
  const service = await startCommands({ signal: AbortSignal.abort() });
  assertEquals(service.state, "closed");
  await service.finished;
  assertEquals((await service.stats()).accepted, 0);
  const { hostname, port } = service.addr;
  Deno.listen({ hostname, port }).close();
});

Deno.test("listenParallel() says what to write instead of a path", async () => {
  await assertRejects(
    () => listenParallel("./echo.ts", ALL),
    TypeError,
    `Cannot listen as 'worker' must be a URL, as new URL("./echo.ts", import.meta.url): received "./echo.ts"`,
  );
  await assertRejects(
    () => listenParallel(undefined!, ALL),
    TypeError,
    `new URL("./worker.ts", import.meta.url): received undefined`,
  );
});

Deno.test("a module can be that of the parent, too", async () => {
  const dir = await Deno.makeTempDir();
  await Deno.writeTextFile(
    `${dir}/main.ts`,
    `import { listenParallel, serveParallel } from ${
      JSON.stringify(import.meta.resolve("@evconn/listener/parallel"))
    };
    if (import.meta.main) {
      await using service = await listenParallel(
        import.meta.url,
        { hostname: "127.0.0.1", port: 0, workers: 2 },
      );
      using client = await Deno.connect({ port: service.addr.port });
      console.log(await new Response(client.readable).text());
    } else {
      serveParallel((conn) => conn.write(new TextEncoder().encode("hello")));
    }`,
  );
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", `${dir}/main.ts`],
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  assertEquals([text(stderr), text(stdout)], ["", "hello\n"]);
  await Deno.remove(dir, { recursive: true });
});
