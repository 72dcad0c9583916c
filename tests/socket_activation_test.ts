/** examples/socket_activation.ts, started as systemd starts it. */
import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { getAvailablePort } from "@std/net/get-available-port";
import {
  type ConnectionCallback,
  ConnListener,
  type ListenerOptions,
} from "@evconn/listener";
import { NodeListener } from "../examples/activation/node_listener.ts";
import { connect, connectAll, isClosed, readAll, until } from "./clients.ts";
import { Process, startExample } from "./example_process.ts";
import { echo, roundTrip, writeAll } from "./faults.ts";
import { hasEnd } from "./has_end.ts";
import { missing } from "./missing.ts";

const ENV = "--allow-env=LISTEN_PID,LISTEN_FDS";
const ignore = missing("systemd-socket-activate");

interface Activated extends AsyncDisposable {
  process: Process;
  connect(): Promise<Deno.TcpConn>;
}

/** Opens the socket. The program itself is started by the first client. */
async function activate(...command: string[]): Promise<Activated> {
  const port = getAvailablePort();
  const process = new Process("systemd-socket-activate", [
    ...["--setenv=NO_COLOR=1", "--setenv=DENO_DIR"],
    ...["--listen", `127.0.0.1:${port}`, ...command],
  ]);
  await process.errorLine(/^Listening on/);
  return {
    process,
    connect: () => Deno.connect({ hostname: "127.0.0.1", port }),
    [Symbol.asyncDispose]: () => process[Symbol.asyncDispose](),
  };
}

/** The example, with nothing allowed but what its header says. */
function activateExample(...keeper: string[]): Promise<Activated> {
  const offline = import.meta.resolve("@std/assert").startsWith("file:");
  const map = offline ? ["--import-map=offline/import_map.json"] : [];
  return activate(
    ...[...keeper, Deno.execPath(), "run", "--quiet", "--no-prompt", ...map],
    ...[ENV, "examples/socket_activation.ts"],
  );
}

/** Keeps the socket while it starts the server twice, as systemd would. */
const KEEPER = [
  ...["sh", "-c", 'for i in 1 2; do sh -c "$0" sh "$@"; done'],
  'LISTEN_PID=$$ exec "$@"',
];

/** Everything that comes back for this, sent with a FIN after it. */
async function exchange(conn: Deno.TcpConn, bytes: Uint8Array) {
  const echoed = new Response(conn.readable).bytes();
  await writeAll(conn, bytes);
  await conn.closeWrite();
  return await echoed;
}

Deno.test("socket activation: the client that starts the server is served", {
  ignore,
}, async () => {
  await using server = await activateExample();
  const bytes = new Uint8Array(4 * 1024 * 1024);
  for (let i = 0; i < bytes.length; i++) bytes[i] = i * i >> 4;
  const echoed = await exchange(await server.connect(), bytes);
  assertEquals(echoed.length, bytes.length);
  assert(echoed.every((byte, i) => byte === bytes[i]));
});

Deno.test("socket activation: the server drains and survives resets", {
  ignore,
}, async () => {
  await using server = await activateExample();
  using conn = await server.connect();
  assertEquals(await roundTrip(conn, "hello"), "hello");
  for (let i = 0; i < 10; i++) {
    using rude = await server.connect();
    await writeAll(rude, new Uint8Array(10_000)); // closing with unread echoes resets
  }
  assertEquals(await roundTrip(conn, "again"), "again");
  server.process.kill("SIGTERM");
  await untilRefused(server);
  assertEquals(await roundTrip(conn, "still"), "still");
  await conn.closeWrite();
  assertEquals(await conn.read(new Uint8Array(1)), null);
  const { code, stdout, stderr } = await server.process.output();
  assertEquals(code, 0, stderr);
  assertStringIncludes(stdout, "Echoing on 127.0.0.1:");
  // What systemd-socket-activate has written, and nothing else.
  assertEquals(stderr.trim().split("\n").at(-1)?.startsWith("Execing"), true);
});

async function untilRefused({ connect }: Activated): Promise<void> {
  for (;;) {
    try {
      (await connect()).close();
    } catch {
      return; // Nobody else has the socket here. With systemd, clients would wait.
    }
  }
}

Deno.test("socket activation: clients wait while the server restarts", {
  ignore,
}, async () => {
  await using keeper = await activateExample(...KEEPER);
  {
    using conn = await keeper.connect();
    assertEquals(await roundTrip(conn, "hello"), "hello");
  }
  const { pid } = keeper.process;
  const first = await Deno.readTextFile(`/proc/${pid}/task/${pid}/children`);
  Deno.kill(Number(first), "SIGTERM");
  await until(() => !isRunning(Number(first)));
  using conn = await keeper.connect(); // whoever is there to serve it
  assertEquals(await roundTrip(conn, "again"), "again");
  const second = await Deno.readTextFile(`/proc/${pid}/task/${pid}/children`);
  Deno.kill(Number(second), "SIGTERM");
  conn.close();
  assertEquals((await keeper.process.output()).code, 0);
});

function isRunning(pid: number): boolean {
  try {
    return Deno.statSync(`/proc/${pid}`).isDirectory;
  } catch {
    return false;
  }
}

Deno.test("socket activation: without a socket it says so", async () => {
  const { code, stderr } = await startExample("socket_activation", [], [ENV])
    .output();
  assertEquals([code, stderr], [1, "Needs one socket from systemd, has 0\n"]);
  const help = await startExample("socket_activation", ["--help"], []).output();
  assertStringIncludes(help.stdout, "Usage: socket_activation.ts [options]");
});

// The same around a socket of this process.

const ADDRESS = { host: "127.0.0.1", port: 0 };

async function listen(
  options: ListenerOptions = {},
  callback: ConnectionCallback | null = echo,
): Promise<ConnListener> {
  return new ConnListener(
    await NodeListener.listen(ADDRESS),
    options,
    callback,
  );
}

Deno.test("NodeListener: accept() gives connections in order, and rejects at the end", async () => {
  const listener = await listen({}, null);
  const accepts = [listener.accept(), listener.accept(), listener.accept()];
  const clients = await connectAll(listener, 2);
  for (const [i, client] of clients.entries()) {
    using conn = await accepts[i]!;
    assertEquals(conn.remoteAddr, client.localAddr);
    assertEquals(conn.localAddr, client.remoteAddr);
  }
  await Promise.all([
    assertRejects(() => accepts[2]!, Deno.errors.BadResource),
    listener.close(),
  ]);
  clients.forEach((client) => client.close());
});

Deno.test("NodeListener: a loop over it ends when it is left", async () => {
  const listener = await listen({}, null);
  using client = await connect(listener);
  for await (const conn of listener) {
    await writeAll(conn, new Uint8Array([7]));
    conn.close();
    break;
  }
  assertEquals(
    await new Response(client.readable).bytes(),
    new Uint8Array([7]),
  );
});

Deno.test("NodeListener: it is a Deno.Listener by itself, too", async () => {
  const socket = await NodeListener.listen(ADDRESS);
  using client = await connect(socket);
  for await (const conn of socket) {
    assertEquals(conn.remoteAddr, client.localAddr);
    conn.close();
    assertThrows(() => conn.close(), Deno.errors.BadResource);
    await assertRejects(() => conn.read(new Uint8Array(1)));
    queueMicrotask(() => socket.close()); // while the loop waits
  }
  assertThrows(() => socket.close(), Deno.errors.BadResource);
  await assertRejects(() => socket.accept(), Deno.errors.BadResource);
  assertEquals(await isClosed(client), true);
});

Deno.test("NodeListener: connections keep half-close, through streams as well", async () => {
  await using listener = await listen({}, async (conn) => {
    const text = await new Response(conn.readable).text().catch(String);
    assertEquals(text, "hello");
  });
  const client = await connect(listener);
  await writeAll(client, new TextEncoder().encode("hello"));
  await client.closeWrite();
  assertEquals(await readAll(client), ""); // closed, as Deno's readable does
  listener.setCallback((conn) => conn.readable.pipeTo(conn.writable));
  const bytes = crypto.getRandomValues(new Uint8Array(65536));
  assertEquals(await exchange(await connect(listener), bytes), bytes);
  listener.setCallback(async (conn) => {
    while (await conn.read(new Uint8Array(2)) !== null);
    await writeAll(conn, new TextEncoder().encode("all read"));
  });
  const answer = await exchange(await connect(listener), bytes);
  assertEquals(new TextDecoder().decode(answer), "all read");
  assertEquals(listener.stats.connectionErrors, 0);
});

Deno.test("NodeListener: the limits of the listener hold", async () => {
  await using listener = await listen({
    maxConnections: 1,
    overflow: "reject",
    idleTimeout: 500,
  });
  using first = await connect(listener);
  assertEquals(await roundTrip(first, "hello"), "hello");
  using second = await connect(listener);
  assertEquals(await isClosed(second), true);
  assertEquals(await isClosed(first), true);
  const { rejected, timedOut, connectionErrors } = listener.stats;
  assertEquals([rejected, timedOut, connectionErrors], [1, 1, 0]);
});

Deno.test("NodeListener: a client that reads nothing is cut off", async () => {
  await using listener = await listen({ idleTimeout: 50 }, async (conn) => {
    for (;;) await writeAll(conn, new Uint8Array(65536));
  });
  using _client = await connect(listener);
  await until(() => listener.stats.timedOut === 1);
  await until(() => listener.stats.active === 0);
  assertEquals(listener.stats.connectionErrors, 0);
});

Deno.test("NodeListener: the client's address comes with the PROXY protocol", async () => {
  await using listener = await listen(
    { proxyProtocol: true },
    (conn) =>
      writeAll(conn, new TextEncoder().encode(conn.remoteAddr.hostname)),
  );
  const client = await connect(listener);
  const header = "PROXY TCP4 192.0.2.1 192.0.2.2 50000 443\r\n";
  await writeAll(client, new TextEncoder().encode(header));
  assertEquals(await readAll(client), "192.0.2.1");
});

Deno.test("NodeListener: a shutdown ends who waits in a read, without an error", async () => {
  const listener = await listen();
  using client = await connect(listener);
  assertEquals(await roundTrip(client, "hello"), "hello");
  const result = await listener.shutdown({ timeout: 0 });
  await listener.finished;
  assertEquals(result, { completed: 0, aborted: 1 });
  assertEquals(listener.stats.connectionErrors, 0);
  assertEquals(await isClosed(client), true);
});

Deno.test("NodeListener: who waits while the listener is paused is served later, or closed", async () => {
  const listener = await listen();
  listener.pause();
  const clients = await connectAll(listener, 3);
  listener.resume();
  for (const client of clients) {
    assertEquals(await roundTrip(client, "hello"), "hello");
    client.close();
  }
  listener.pause();
  const late = await connectAll(listener, 3);
  await listener.close();
  for (const client of late) await hasEnd(client);
});
