/** A connection as a socket of Node's. */
import { assert, assertEquals } from "@std/assert";
import {
  type ConnListener,
  listen,
  type ListenerOptions,
} from "@evconn/listener";
import { NodeSocket, type NodeSocketOptions } from "@evconn/listener/node";
import { once } from "node:events";
import { connect as nodeConnect } from "node:net";
import { pipeline } from "node:stream/promises";
import { connect, readAll, until } from "../helpers/clients.ts";
import { send } from "../helpers/http_clients.ts";
import { TempDir } from "../helpers/temp_dir.ts";
import { NODE_CLIENTS_RESET } from "../helpers/this_deno.ts";

/** A listener, a client of it, and the socket of the client's connection. */
async function open(
  options: NodeSocketOptions = {},
  listenerOptions: ListenerOptions = {},
) {
  const { promise, resolve } = Promise.withResolvers<NodeSocket>();
  const listener = listen(
    { hostname: "127.0.0.1", port: 0, ...listenerOptions },
    (conn) => {
      const socket = new NodeSocket(conn, options);
      resolve(socket);
      return socket.finished;
    },
  );
  const client = await connect(listener);
  const first = listenerOptions.proxyProtocol ? PROXY : "";
  if (first) await send(client, first);
  return {
    listener,
    client,
    socket: await promise,
    async [Symbol.asyncDispose]() {
      client[Symbol.dispose]();
      await listener.shutdown({ timeout: 0 });
    },
  };
}

const PROXY = "PROXY TCP6 2001:db8::1 2001:db8::2 50000 443\r\n";

Deno.test("NodeSocket has the addresses of its connection", async () => {
  await using test = await open();
  const { socket, client, listener } = test;
  assertEquals(socket.remoteAddress, "127.0.0.1");
  assertEquals(socket.remotePort, client.localAddr.port);
  assertEquals(socket.remoteFamily, "IPv4");
  assertEquals(socket.localAddress, "127.0.0.1");
  assertEquals(socket.localPort, listener.addr.port);
  assertEquals(socket.localFamily, "IPv4");
  assertEquals(socket.address(), {
    address: "127.0.0.1",
    family: "IPv4",
    port: listener.addr.port,
  });
});

Deno.test("NodeSocket has the addresses that the PROXY header says", async () => {
  await using test = await open({}, { proxyProtocol: true });
  const { socket } = test;
  assertEquals(socket.remoteAddress, "2001:db8::1");
  assertEquals([socket.remotePort, socket.remoteFamily], [50000, "IPv6"]);
  assertEquals(socket.address(), {
    address: "2001:db8::2",
    family: "IPv6",
    port: 443,
  });
});

Deno.test("NodeSocket has no address on a Unix socket", {
  ignore: Deno.build.os === "windows",
}, async () => {
  await using dir = new TempDir();
  const path = `${dir.path}/socket`;
  await using listener = listen({ transport: "unix", path }, async (conn) => {
    const socket = new NodeSocket(conn);
    socket.end(`${socket.remoteAddress} ${JSON.stringify(socket.address())}`);
    await socket.finished;
  });
  const client = await Deno.connect({ transport: "unix", path });
  assertEquals(await readAll(client), "undefined {}");
  await listener.shutdown();
});

Deno.test("NodeSocket says what can be done with it", async () => {
  await using test = await open({ allowHalfOpen: true });
  const { socket, client } = test;
  assertEquals(socket.readyState, "open");
  assertEquals([socket.connecting, socket.pending], [false, false]);
  assertEquals(socket.encrypted, false);
  socket.resume();
  await client.closeWrite();
  await once(socket, "end");
  assertEquals(socket.readyState, "writeOnly");
  socket.end();
  await socket.finished;
  assertEquals(socket.readyState, "closed");
});

Deno.test("NodeSocket counts bytes", async () => {
  await using test = await open({ allowHalfOpen: true });
  const { socket, client } = test;
  const echoed = pipeline(socket, socket);
  await send(client, "hello");
  await client.closeWrite();
  assertEquals(await readAll(client), "hello");
  await echoed;
  assertEquals([socket.bytesRead, socket.bytesWritten], [5, 5]);
});

Deno.test("NodeSocket takes and gives 8 MB at once, byte for byte", async () => {
  await using test = await open({ allowHalfOpen: true });
  const { socket, client } = test;
  const bytes = new Uint8Array(8 * 1024 * 1024);
  for (let i = 0; i < bytes.length; i += 65536) {
    crypto.getRandomValues(bytes.subarray(i, i + 65536));
  }
  const echoed = pipeline(socket, socket);
  const sent = new Blob([bytes]).stream().pipeTo(client.writable, {
    preventClose: true,
  }).then(() => client.closeWrite());
  const answer = await new Response(client.readable).bytes();
  await Promise.all([echoed, sent]);
  assert(answer.length === bytes.length);
  assert(answer.every((byte, i) => byte === bytes[i]));
});

Deno.test("NodeSocket writes what was corked as one", async () => {
  await using test = await open();
  const { socket, client } = test;
  socket.cork();
  socket.write("hello ");
  socket.write("world");
  socket.uncork();
  const buffer = new Uint8Array(100);
  const length = await client.read(buffer);
  assertEquals(
    new TextDecoder().decode(buffer.subarray(0, length!)),
    "hello world",
  );
});

Deno.test("NodeSocket ends at the client's FIN, also without any listeners", async () => {
  await using test = await open();
  const { socket, client } = test;
  socket.write("hello");
  socket.removeAllListeners().resume();
  await client.closeWrite();
  assertEquals(await readAll(client), "hello");
  await socket.finished;
});

Deno.test("NodeSocket stays half open where it may", async () => {
  await using test = await open({ allowHalfOpen: true });
  const { socket, client } = test;
  await client.closeWrite();
  socket.resume();
  await once(socket, "end");
  socket.end("the answer");
  assertEquals(await readAll(client), "the answer");
});

/** Lets a client connect, waits for its connection, and resets it. */
async function reset(listener: ConnListener): Promise<void> {
  const { hostname, port } = listener.addr;
  const client = nodeConnect(port, hostname);
  await once(client, "connect");
  await until(() => listener.stats.active === 1);
  client.resetAndDestroy();
  await until(() => listener.stats.active === 0);
}

Deno.test("NodeSocket survives a reset that nobody listens for", {
  ignore: !NODE_CLIENTS_RESET,
}, async () => {
  await using listener = listen(
    { hostname: "127.0.0.1", port: 0 },
    (conn) => new NodeSocket(conn).removeAllListeners().finished,
  );
  await reset(listener);
});

Deno.test("NodeSocket emits an error when its client resets", {
  ignore: !NODE_CLIENTS_RESET,
}, async () => {
  const errors: (Error & { code?: string })[] = [];
  await using listener = listen(
    { hostname: "127.0.0.1", port: 0 },
    (conn) =>
      new NodeSocket(conn).on("error", (error) => errors.push(error)).finished,
  );
  await reset(listener);
  assertEquals(errors.map(({ code }) => code), ["ECONNRESET"]);
});

Deno.test("NodeSocket closes without an error when the listener is cut off", async () => {
  await using test = await open();
  const { socket, listener } = test;
  const errors: unknown[] = [];
  socket.on("error", (error) => errors.push(error)).resume();
  assertEquals(await listener.shutdown({ timeout: 0 }), {
    completed: 0,
    aborted: 1,
  });
  await socket.finished;
  assertEquals(errors, []);
});

Deno.test("NodeSocket tells of the listener's idleTimeout", async () => {
  await using test = await open({}, { idleTimeout: 50 });
  const { socket, listener } = test;
  const [error] = await once(socket.resume(), "error");
  assert(error instanceof Deno.errors.TimedOut);
  assertEquals(listener.stats.timedOut, 1);
});

Deno.test("NodeSocket emits timeout once in each silence, and stays open", async () => {
  await using test = await open();
  const { socket, client } = test;
  let timeouts = 0;
  socket.on("timeout", () => timeouts++).resume();
  assertEquals(socket.setTimeout(40), socket);
  assertEquals(socket.timeout, 40);
  await once(socket, "timeout");
  assertEquals(timeouts, 1);
  await send(client, "a");
  await once(socket, "timeout"); // a second silence
  assertEquals([timeouts, socket.destroyed], [2, false]);
});

Deno.test("NodeSocket's timeout begins anew with each byte", async () => {
  await using test = await open();
  const { socket, client } = test;
  socket.setTimeout(100);
  const start = performance.now();
  let last = start;
  while (last < start + 250) {
    const came = once(socket, "data");
    await send(client, "a");
    last = performance.now();
    await came;
  }
  await once(socket, "timeout");
  assert(performance.now() - last > 99);
});

Deno.test("NodeSocket's timeout can be made shorter", async () => {
  await using test = await open();
  const { promise, resolve } = Promise.withResolvers<void>();
  test.socket.setTimeout(1_000_000, resolve).setTimeout(1);
  await promise;
});

Deno.test("NodeSocket's timeout can be taken back", async () => {
  await using test = await open();
  const { socket } = test;
  const ignored = () => {
    throw new Error("It has been taken back");
  };
  socket.setTimeout(1, ignored).setTimeout(0, ignored);
  assertEquals(socket.timeout, 0);
  assertEquals(socket.listenerCount("timeout"), 0);
});

Deno.test("NodeSocket.destroySoon() sends everything, also without any listeners", async () => {
  await using test = await open();
  const { socket, client } = test;
  const bytes = new Uint8Array(1024 * 1024);
  socket.write(bytes);
  socket.destroySoon();
  socket.removeAllListeners();
  const answer = await new Response(client.readable).bytes();
  assertEquals(answer.length, bytes.length);
  await socket.finished;
});

Deno.test("NodeSocket passes on noDelay, keepAlive, ref and unref", async () => {
  await using test = await open();
  const { socket } = test;
  assertEquals(socket.setNoDelay().setKeepAlive(true), socket);
  assertEquals(socket.unref().ref(), socket);
  socket.destroy();
  await socket.finished;
  socket.setNoDelay(false).setKeepAlive();
});
