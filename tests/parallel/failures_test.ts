/** Errors in workers: who is told, and who is harmed. */
import { assertEquals } from "@std/assert";
import { listenParallel } from "@evconn/listener/parallel";
import { connect, connectAll } from "../helpers/clients.ts";
import { workerOf } from "../helpers/parallel_service.ts";

const ALL = { hostname: "127.0.0.1", port: 0, workers: 1 };

function block(ms: number): void {
  for (const end = performance.now() + ms; performance.now() < end;);
}

/** Fails when it is told 2, and gives the place of that client free a little later. */
const FAILS = `
  serveParallel(async (conn) => {
    const buffer = new Uint8Array(1);
    await conn.read(buffer);
    if (buffer[0] !== 2) return conn.write(buffer);
    setTimeout(() => { throw new Error("dies"); });
    await new Promise((resolve) => setTimeout(resolve, 20));
  }, { maxConnections: 1 });`;

/** Forty clients that come while the parent is busy, and ask when it is not any more. */
const CLIENTS = `
  const [port] = Deno.args.map(Number);
  const ask = async (conn) => {
    try {
      await conn.write(new Uint8Array(1));
      return await conn.read(new Uint8Array(1)) ?? 0;
    } catch {
      return 0;
    } finally {
      conn.close();
    }
  };
  console.log("ready");
  await Deno.stdin.read(new Uint8Array(1));
  await new Promise((go) => setTimeout(go, 100)); // for the failure
  const conns = await Promise.all(
    Array.from({ length: 40 }, () => Deno.connect({ port, hostname: "127.0.0.1" })),
  );
  await new Promise((go) => setTimeout(go, 500));
  const answers = await Promise.all(conns.map(ask));
  console.log(answers.reduce((sum, one) => sum + one), "of", answers.length);
`;

for (const workers of [1, 2]) {
  Deno.test(`a worker that has failed accepts nobody until it is replaced: ${workers} in all`, async () => {
    const { promise, resolve } = Promise.withResolvers<Error>();
    const service = await listenParallel(workerOf(FAILS), {
      ...ALL,
      workers,
      onWorkerError: resolve,
    });
    const clients = new Deno.Command(Deno.execPath(), {
      args: ["eval", CLIENTS, `${service.addr.port}`],
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    const lines = clients.stdout.pipeThrough(new TextDecoderStream())
      .getReader();
    await lines.read(); // it is there
    const stdin = clients.stdin.getWriter();
    using killer = await connect(service);
    await killer.write(new Uint8Array([2]));
    await stdin.write(new Uint8Array(1));
    block(400); // so that the parent does not hear of it
    const { message } = await promise;
    assertEquals(message, "dies");
    const { value } = await lines.read();
    assertEquals(value?.trim(), "40 of 40");
    await stdin.close();
    await lines.cancel();
    await clients.status;
    await service.shutdown();
  });
}

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
  const service = await listenParallel(workerOf(FAILS), {
    ...ALL,
    onWorkerError: ({ message }) => void told.push(message),
  });
  for (let i = 0; i < 3; i++) {
    using killer = await connect(service);
    const clients = await connectAll(service, 10);
    const answers = clients.map(async (client) => {
      await client.write(new Uint8Array([3]));
      const answer = await client.read(new Uint8Array(1));
      client.close();
      return answer;
    });
    await killer.write(new Uint8Array([2]));
    assertEquals(await Promise.all(answers), Array(10).fill(1));
  }
  assertEquals(told, ["dies", "dies", "dies"]);
  assertEquals((await service.stats()).restarts, 3);
  await service.shutdown();
});
