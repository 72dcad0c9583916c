/** Who owns a connection, and what becomes of it when its callback fails. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { listen, type ListenerOptions } from "@evconn/listener";
import { connect, isClosed, readAll, until } from "../helpers/clients.ts";
import { runProgram } from "../helpers/program.ts";
import { NODE_CLIENTS_RESET } from "../helpers/this_deno.ts";

const LOCAL = { hostname: "127.0.0.1", port: 0 };

Deno.test("a connection is active until its callback's promise settles, and closed then", async () => {
  const ending = Promise.withResolvers<void>();
  await using listener = listen(LOCAL, () => ending.promise);
  using client = await connect(listener);
  await until(() => listener.stats.active === 1);
  ending.resolve();
  assert(await isClosed(client));
  assertEquals(listener.stats.active, 0);
});

Deno.test("a connection may be closed by its callback before the listener does", async () => {
  const errors: unknown[] = [];
  await using listener = listen(
    { ...LOCAL, onConnectionError: (error) => void errors.push(error) },
    async (conn) => {
      using _closing = conn;
      await conn.write(new TextEncoder().encode("hello"));
      conn.close();
    },
  );
  assertEquals(await readAll(await connect(listener)), "hello");
  await until(() => listener.stats.active === 0);
  assertEquals(errors, []);
});

Deno.test("a connection is the callback's if it returns nothing, or no promise", async () => {
  const conns: Deno.TcpConn[] = [];
  await using listener = listen(
    LOCAL,
    (conn) => conns.push(conn) as unknown as void,
  );
  const client = await connect(listener);
  await until(() => conns.length === 1);
  assertEquals(listener.stats.active, 0);
  await conns[0]!.write(new TextEncoder().encode("hello"));
  conns[0]!.close();
  assertEquals(await readAll(client), "hello");
});

Deno.test("anything with a then() is a promise", async () => {
  const thenable = {
    then: (resolve: () => void) => resolve(),
  };
  await using listener = listen(LOCAL, () => thenable as Promise<void>);
  using client = await connect(listener);
  assert(await isClosed(client));
});

const failures: Record<string, () => void | Promise<void>> = {
  "throws": () => {
    throw new Error("in the callback");
  },
  "rejects": () => Promise.reject(new Error("in the callback")),
};
for (const [verb, fail] of Object.entries(failures)) {
  Deno.test(`onConnectionError is told when a callback ${verb}, and the listener goes on`, async () => {
    const told: unknown[][] = [];
    await using listener = listen({
      ...LOCAL,
      onConnectionError: (error, conn, listener) => {
        told.push([(error as Error).message, conn.remoteAddr.port, listener]);
      },
    }, fail);
    for (let i = 0; i < 2; i++) {
      using client = await connect(listener);
      assert(await isClosed(client));
      assertEquals(told[i], [
        "in the callback",
        client.localAddr.port,
        listener,
      ]);
    }
    assertEquals(listener.stats.connectionErrors, 2);
    assertEquals(listener.stats.active, 0);
  });
}

Deno.test("onConnectionError is told of a callback that rejects after it closed", async () => {
  const told = Promise.withResolvers<unknown>();
  const options: ListenerOptions = {
    onConnectionError: (error) => told.resolve(error),
  };
  await using listener = listen({ ...LOCAL, ...options }, (conn) => {
    conn.close();
    return Promise.reject("no Error at all");
  });
  using client = await connect(listener);
  assert(await isClosed(client));
  assertEquals(await told.promise, "no Error at all");
});

/** What a process prints whose callback fails, while it serves on. */
async function printed(
  callback: string,
  client: string,
  options = "",
): Promise<string> {
  const { code, stdout, stderr } = await runProgram(`
    import { connect as nodeConnect } from "node:net";
    let calls = 0;
    const done = Promise.withResolvers();
    const listener = evconn.listen({ hostname: "127.0.0.1", port: 0, ${options} }, async (conn) => {
      if (calls++ > 0) return void await conn.write(new Uint8Array(1));
      try { await (${callback})(conn); } finally { queueMicrotask(done.resolve); }
    });
    const { port } = listener.addr;
    ${client};
    await done.promise;
    using again = await Deno.connect({ port });
    if (listener.state !== "closed") console.log(await again.read(new Uint8Array(1)));
    await listener.shutdown();`);
  assertEquals([code, stdout], [0, "1"], stderr);
  return stderr;
}
const CONNECT = "const client = await Deno.connect({ port })";

Deno.test("without a hook, a callback's error is printed", async () => {
  const error = await printed("() => { throw new Error('a bug') }", CONNECT);
  assertStringIncludes(error, "Error in a connection callback: Error: a bug");
});

Deno.test(
  "without a hook, an error that only says that the peer went away is not printed",
  { ignore: !NODE_CLIENTS_RESET },
  async () => {
    const reset = `
    const client = nodeConnect(port, "127.0.0.1", () => client.write("x"));
    client.on("data", () => client.resetAndDestroy());`;
    const read = `async (conn) => {
    const bytes = new Uint8Array(1);
    await conn.read(bytes);
    await conn.write(bytes);
    await conn.read(bytes);
    throw new Error("the reset must show");
  }`;
    assertEquals(await printed(read, reset), "");
  },
);

Deno.test("a hook for connections that throws, or rejects, does not end the process", async () => {
  for (
    const hook of [
      "() => { throw new Error('hook') }",
      "async () => { throw new Error('hook') }",
    ]
  ) {
    const error = await printed(
      "() => { throw new Error('a bug') }",
      CONNECT,
      `onConnectionError: ${hook}`,
    );
    assertStringIncludes(error, "Error in a hook of a listener: Error: hook");
  }
});

Deno.test("without a hook, an error that only says that shutdown cut the connection is not printed", async () => {
  const { code, stderr } = await runProgram(`
    const serving = Promise.withResolvers();
    const listener = evconn.listen({ hostname: "127.0.0.1", port: 0 }, async (conn) => {
      serving.resolve();
      await conn.read(new Uint8Array(1));
    });
    const client = await Deno.connect({ port: listener.addr.port });
    await serving.promise;
    await listener.shutdown({ timeout: 0 });
    await listener.finished;
    client.close();`);
  assertEquals([code, stderr], [0, ""]);
});
