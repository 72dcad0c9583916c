/** Errors in workers: who is told, and who is harmed. */
import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import { listenParallel } from "@evconn/listener/parallel";
import { connect, connectAll } from "../helpers/clients.ts";
import { ask, startCommands, workerOf } from "../helpers/parallel_service.ts";

const ALL = { hostname: "127.0.0.1", port: 0, workers: 1 };

function block(ms: number): void {
  for (const end = performance.now() + ms; performance.now() < end;);
}

for (const workers of [1, 2]) {
  Deno.test(`a worker that has failed accepts nobody until it is replaced: ${workers} in all`, async () => {
    const { promise, resolve } = Promise.withResolvers<Error>();
    await using service = await startCommands({
      workers,
      onWorkerError: resolve,
    });
    using victim = await connect(service);
    await ask(victim, "id");
    // Who connects in another process while this one, and so the parent, is busy.
    const clients = new Deno.Command(Deno.execPath(), {
      args: ["eval", CLIENTS, `${service.addr.port}`],
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    const lines = clients.stdout.pipeThrough(new TextDecoderStream())
      .getReader();
    await lines.read(); // it is there
    await victim.write(new TextEncoder().encode("throw"));
    const stdin = clients.stdin.getWriter();
    await stdin.write(new Uint8Array(1));
    await stdin.close();
    block(400);
    assertInstanceOf(await promise, Deno.errors.InvalidData);
    const { value } = await lines.read();
    assertEquals(value?.trim(), "40 of 40");
    await lines.cancel();
    await clients.status;
  });
}

/** Forty clients that come while the parent is busy, and what is answered. */
const CLIENTS = `
  const port = Number(Deno.args[0]);
  const visit = async () => {
    try {
      using conn = await Deno.connect({ port, hostname: "127.0.0.1" });
      await conn.write(new TextEncoder().encode("id"));
      return await conn.read(new Uint8Array(99)) === null ? 0 : 1;
    } catch {
      return 0;
    }
  };
  console.log("ready");
  await Deno.stdin.read(new Uint8Array(1));
  await new Promise((go) => setTimeout(go, 100)); // for the failure
  const answers = await Promise.all(Array.from({ length: 40 }, visit));
  console.log(answers.reduce((sum, one) => sum + one), "of", answers.length);
`;

Deno.test("listeners of the program's own decide what is a failure, whenever they were added", async () => {
  const handle = `(event) => {
    if (String(event.reason ?? event.message).includes("mine")) {
      event.preventDefault();
    }
  }`;
  const rejects = `Promise.reject(new Error(name))`;
  const throws = `setTimeout(() => { throw new Error(name); })`;
  const kinds: [kind: string, when: "before" | "after", fail: string][] = [
    ["unhandledrejection", "before", rejects],
    ["unhandledrejection", "after", rejects],
    ["error", "before", throws],
    ["error", "after", throws],
  ];
  for (const [kind, when, fail] of kinds) {
    const listens = `addEventListener("${kind}", ${handle});`;
    const told: string[] = [];
    const { promise, resolve } = Promise.withResolvers<void>();
    const service = await listenParallel(
      workerOf(`
        ${when === "before" ? listens : ""}
        serveParallel(async (conn) => {
          ${when === "after" ? listens : ""}
          for (const name of ["mine", "another"]) ${fail};
          await new Promise(() => {});
        });
      `),
      {
        ...ALL,
        onWorkerError: ({ message }) => {
          told.push(message);
          resolve();
        },
      },
    );
    using _client = await connect(service);
    await promise;
    assertEquals(told, ["another"], `${kind} ${when}`);
    await service.shutdown({ timeout: 0 });
  }
});

Deno.test("onunhandledrejection and onerror are heeded, too", async () => {
  const service = await listenParallel(
    workerOf(`
      globalThis.onunhandledrejection = (event) => event.preventDefault();
      globalThis.onerror = (message) => message.includes("mine");
      serveParallel(async (conn) => {
        Promise.reject(new Error("mine"));
        setTimeout(() => { throw new Error("mine"); });
        await new Promise((resolve) => setTimeout(resolve, 20));
        await conn.write(new Uint8Array(1));
      });
    `),
    ALL,
  );
  using client = await connect(service);
  assertEquals(await client.read(new Uint8Array(1)), 1);
  assertEquals((await service.stats()).restarts, 0);
  await service.shutdown();
});

Deno.test("serveParallel() throws in a worker that listenParallel() has not started", async () => {
  const worker = new Worker(
    workerOf(`
      try {
        serveParallel(() => {});
      } catch (error) {
        postMessage(error.message);
      }
    `),
    { type: "module", name: "worker 0" },
  );
  const said = await new Promise((resolve) => {
    worker.onmessage = ({ data }) => resolve(data);
  });
  worker.terminate();
  assertEquals(
    said,
    "Cannot serve as listenParallel() has not started this worker",
  );
});

Deno.test("the queue outlives the only worker that fails again and again", async () => {
  const told: string[] = [];
  const service = await listenParallel(
    workerOf(`
      serveParallel(async (conn) => {
        const buffer = new Uint8Array(9);
        await conn.read(buffer);
        if (buffer[0] === 2) {
          Promise.reject(new Error("dies"));
          await new Promise(() => {});
        }
        await conn.write(buffer.subarray(0, 1));
      }, { maxConnections: 1 });
    `),
    { ...ALL, onWorkerError: ({ message }) => void told.push(message) },
  );
  for (let i = 0; i < 3; i++) {
    using killer = await connect(service);
    const clients = await connectAll(service, 10);
    const answers = clients.map(async (client) => {
      await client.write(new Uint8Array([3]));
      return await client.read(new Uint8Array(1));
    });
    await killer.write(new Uint8Array([2]));
    assertEquals(await Promise.all(answers), Array(10).fill(1));
    for (const client of clients) client.close();
  }
  assertEquals(told, ["dies", "dies", "dies"]);
  assert((await service.stats()).restarts >= 3);
  await service.shutdown();
});
