/** What a failed accept does: to the listener, nothing. */
import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { ConnListener, listen } from "@evconn/listener";
import {
  connect,
  connectAndReset,
  readAll,
  turns,
  until,
} from "../helpers/clients.ts";
import { runProgram } from "../helpers/program.ts";
import { NODE_CLIENTS_RESET } from "../helpers/this_deno.ts";
import { osError, StandIn } from "../helpers/stand_in.ts";

const LOCAL = { hostname: "127.0.0.1", port: 0 };
/** What Deno gives for errors that are about one client. */
const PEER_GONE = [
  ...[
    "ECONNABORTED",
    "ENOTCONN",
    "ECONNRESET",
    "EHOSTUNREACH",
    "ENETUNREACH",
    "ENOTSUP",
    "ETIMEDOUT",
    "EPERM",
  ].map(osError),
  ...unnamed().map((number) => new Error(`Some words (os error ${number})`)),
];

/** EPROTO, ENOPROTOOPT, EHOSTDOWN, ENETDOWN, and what this system has beside them. */
function unnamed(): number[] {
  switch (Deno.build.os) {
    case "linux":
      return [71, 92, 112, 100, 64];
    case "darwin":
      return [100, 42, 64, 50, 102];
    default:
      return [];
  }
}

const LISTENERS_OWN = ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EBADF", "EIO"];
const hello = async (conn: Deno.TcpConn) => {
  await conn.write(new TextEncoder().encode("hello"));
};

Deno.test("a peer that was gone is passed over at once, and no hook is told", async () => {
  for (const error of PEER_GONE) {
    const socket = new StandIn((call) => call < 3 ? error : undefined);
    await using listener = new ConnListener(socket, {
      onAcceptError: (error) => assert(false, error.message),
    }, hello);
    assertEquals(await readAll(await connect(listener)), "hello", `${error}`);
    assertEquals(listener.holds, []);
    assertEquals(
      [listener.stats.aborted, listener.stats.acceptErrors, socket.calls],
      [3, 0, 5],
    );
  }
});

Deno.test("EINVAL means a vanished peer where getpeername gives it, not on Linux and Windows", async () => {
  const socket = new StandIn((call) =>
    call < 1 ? osError("EINVAL") : undefined
  );
  await using listener = new ConnListener(
    socket,
    { onAcceptError: () => {} },
    hello,
  );
  assertEquals(await readAll(await connect(listener)), "hello");
  const isItsOwn = ["linux", "windows"].includes(Deno.build.os);
  assertEquals(listener.stats.acceptErrors, isItsOwn ? 1 : 0);
  assertEquals(listener.stats.aborted, isItsOwn ? 0 : 1);
});

Deno.test("an error that only quotes another one's number is the listener's own", async () => {
  const quote = new Error("Cannot ask: Protocol error (os error 71)");
  const socket = new StandIn((call) => call < 1 ? quote : undefined);
  const told: unknown[] = [];
  await using listener = new ConnListener(
    socket,
    { onAcceptError: (error) => told.push(error) },
    hello,
  );
  assertEquals(await readAll(await connect(listener)), "hello");
  assertEquals([told, listener.stats.aborted], [[quote], 0]);
});

Deno.test("a peer that was gone does not show in for await or accept()", async () => {
  const socket = new StandIn((call) =>
    call % 2 ? undefined : osError("ENOTCONN")
  );
  await using listener = new ConnListener(socket);
  using client = await connect(listener);
  using conn = await listener.accept();
  assertEquals(conn.remoteAddr.port, client.localAddr.port);
  using next = await connect(listener);
  for await (const conn of listener) {
    assertEquals(conn.remoteAddr.port, next.localAddr.port);
    conn.close();
    break;
  }
  assertEquals(listener.stats.aborted, 2);
});

Deno.test("a socket on which every accept says that the peer was gone cannot stop the event loop", async () => {
  const socket = new StandIn(() => osError("ECONNABORTED"));
  await using listener = new ConnListener(socket, {}, () => {});
  await turns(3); // three timers fire
  assertEquals(listener.stats.acceptErrors, 0);
  assertEquals(listener.stats.aborted, socket.calls);
});

for (const code of LISTENERS_OWN) {
  Deno.test(`${code} is told to the hook, waited for, and survived`, async () => {
    const socket = new StandIn((call) => call < 2 ? osError(code) : undefined);
    const told: unknown[] = [];
    await using listener = new ConnListener(
      socket,
      {
        onAcceptError: (error, listener, data) => {
          told.push(
            (error as { code?: string }).code,
            listener,
            data,
            listener.holds,
          );
        },
      },
      (conn) => hello(conn),
      "data",
    );
    assertEquals(await readAll(await connect(listener)), "hello");
    const once = [code, listener, "data", ["backoff"]];
    assertEquals(told, [...once, ...once]);
    assertEquals(listener.stats.acceptErrors, 2);
    assertEquals(listener.stats.aborted, 0);
  });
}

Deno.test("an error that is no Error, or has no code, counts as unknown", async () => {
  const odd = ["text", new Error("no code")] as Error[];
  const socket = new StandIn((call) => odd[call]);
  const errors: Error[] = [];
  await using listener = new ConnListener(socket, {
    onAcceptError: (error) => void errors.push(error),
  }, hello);
  assertEquals(await readAll(await connect(listener)), "hello");
  assertEquals(errors.map((error) => error.message), ["text", "no code"]);
  assert(errors[0] instanceof Error);
});

Deno.test("an accept() that waits outlives failures of the listener's own", async () => {
  const socket = new StandIn((call) =>
    call < 2 ? osError("EMFILE") : undefined
  );
  await using listener = new ConnListener(socket, { onAcceptError: () => {} });
  const accepted = listener.accept();
  using client = await connect(listener);
  using conn = await accepted;
  assertEquals(conn.remoteAddr.port, client.localAddr.port);
});

Deno.test("Interrupted is retried, BadResource is the end", async () => {
  const socket = new StandIn((call) =>
    call === 0
      ? new Deno.errors.Interrupted("accept")
      : call === 2
      ? new Deno.errors.BadResource("Listener has been closed")
      : undefined
  );
  const listener = new ConnListener(socket);
  using _client = await connect(listener);
  (await listener.accept()).close();
  assertEquals(listener.stats.aborted, 1);
  await assertRejects(() => listener.accept(), Deno.errors.BadResource);
  await listener.finished;
  assertEquals(listener.state, "closed");
});

Deno.test("the hook may pause, close, detach, free or replace itself", async () => {
  for (const verb of ["pause", "close", "detach", "free"] as const) {
    const socket = new StandIn(() => osError("EMFILE"));
    const told = Promise.withResolvers<void>();
    const listener = new ConnListener(socket, {
      onAcceptError: (_error, listener) => {
        listener[verb]();
        told.resolve();
      },
    }, () => {});
    await told.promise;
    if (verb === "pause") {
      await until(() => listener.holds.length === 1);
      assertEquals(listener.holds, ["paused"]);
    }
    await turns();
    assertEquals([verb, socket.calls], [verb, 1]);
    socket[Symbol.dispose]();
    await listener.close();
  }
});

Deno.test("setErrorCallback() replaces the hook", async () => {
  const socket = new StandIn((call) =>
    call < 4 ? osError("EMFILE") : undefined
  );
  const told: string[] = [];
  await using listener = new ConnListener(socket, {
    onAcceptError: (_error, listener) => {
      told.push("old");
      listener.setErrorCallback(() => void told.push("new"));
    },
  }, hello);
  assertEquals(await readAll(await connect(listener)), "hello");
  assertEquals(told, ["old", "new", "new", "new"]);
});

/** Runs a listener on which accept fails as told, in a process of its own. */
function runFailing(failing: string, program: string) {
  return runProgram(`
    const socket = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const accept = socket.accept.bind(socket);
    let calls = 0;
    const failing = (call) => ${failing};
    socket.accept = () => {
      const code = failing(calls++);
      return code ? Promise.reject(Object.assign(new Error(code), { code })) : accept();
    };
    ${program}
    const client = await Deno.connect({ port: socket.addr.port });
    await client.read(new Uint8Array(1));
    const again = await Deno.connect({ port: socket.addr.port });
    await again.read(new Uint8Array(1));
    Deno.exit();`);
}

Deno.test("without a hook there is one warning for each episode of failures", async () => {
  const { stderr } = await runFailing(
    `call !== 3 && call < 7 ? "EMFILE" : undefined`,
    `new evconn.ConnListener(socket, {}, async (conn) => void await conn.write(new Uint8Array(1)));`,
  );
  const lines = stderr.split("\n");
  assertEquals(lines.length, 2, stderr);
  for (const line of lines) {
    assertStringIncludes(line, "Cannot accept on 127.0.0.1:");
    assertStringIncludes(line, "EMFILE");
  }
});

Deno.test("a hook that throws, or rejects, does not end the process", async () => {
  for (
    const hook of [
      "() => { throw new Error('hook') }",
      "async () => { throw new Error('hook') }",
    ]
  ) {
    const { code, stderr } = await runFailing(
      `call === 0 ? "EMFILE" : undefined`,
      `new evconn.ConnListener(socket, { onAcceptError: ${hook} },
         async (conn) => void await conn.write(new Uint8Array(1)));`,
    );
    assertEquals(code, 0, stderr);
    assertStringIncludes(stderr, "Error in a hook of a listener: Error: hook");
  }
});

Deno.test(
  "clients that reset before they are accepted never end a callback listener",
  { ignore: !NODE_CLIENTS_RESET },
  async () => {
    await using listener = listen({
      ...LOCAL,
      onAcceptError: (error) => assert(false, error.message),
    }, hello);
    await connectAndReset(listener, 10_000);
    assertEquals(await readAll(await connect(listener)), "hello");
    assertEquals([listener.state, listener.stats.acceptErrors], [
      "listening",
      0,
    ]);
  },
);

Deno.test(
  "clients that reset before they are accepted never end a for await loop",
  { ignore: !NODE_CLIENTS_RESET },
  async () => {
    const listener = listen(LOCAL);
    const loop = (async () => {
      for await (const conn of listener) {
        hello(conn).finally(() => conn.close()).catch(() => {});
      }
    })();
    await connectAndReset(listener, 10_000);
    assertEquals(await readAll(await connect(listener)), "hello");
    assertEquals(listener.stats.acceptErrors, 0);
    await listener.close();
    await loop;
  },
);

Deno.test(
  "clients that reset while they wait in the kernel's queue are counted",
  { ignore: !NODE_CLIENTS_RESET },
  async () => {
    await using listener = listen(LOCAL);
    await connectAndReset(listener, 50); // nobody accepts: each of them waits
    using client = await connect(listener);
    using conn = await listener.accept();
    assertEquals(conn.remoteAddr.port, client.localAddr.port);
    assertEquals(listener.stats.aborted, 50);
  },
);
