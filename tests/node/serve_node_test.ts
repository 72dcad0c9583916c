/** Servers of Node's, and functions that take a socket, on a listener. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { listen, type ListenerOptions, listenTls } from "@evconn/listener";
import { type NodeSocket, serveNode } from "@evconn/listener/node";
import { createServer, type Server } from "node:net";
import { CERTIFICATE } from "../helpers/certificate.ts";
import { connect, isClosed, readAll, until } from "../helpers/clients.ts";
import { QuietConsole } from "../helpers/console.ts";
import { send } from "../helpers/http_clients.ts";
import { TempDir } from "../helpers/temp_dir.ts";

const HERE = { hostname: "127.0.0.1", port: 0 };

/** Sends a text, then the FIN, and reads the answer. */
async function ask(conn: Deno.Conn, text: string): Promise<string> {
  await send(conn, text);
  await conn.closeWrite();
  return await readAll(conn);
}

Deno.test("serveNode() gives connections to a server that does not listen", async () => {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.pipe(socket);
  });
  await using listener = listen(HERE, serveNode(server));
  assertEquals(await ask(await connect(listener), "hello"), "hello");
  assertEquals(server.listening, false);
});

Deno.test("serveNode() is half open only if the server is", async () => {
  const server = createServer((socket) => {
    // Too late for a client that has sent its FIN.
    socket.resume().on("end", () => setTimeout(() => socket.write("late"), 1));
    socket.on("error", () => {});
  });
  await using listener = listen(HERE, serveNode(server));
  assertEquals(await ask(await connect(listener), "hello"), "");
});

Deno.test("serveNode() keeps a connection active until its socket is over", async () => {
  let socket: NodeSocket | undefined;
  await using listener = listen(
    HERE,
    serveNode((given) => void (socket = given)),
  );
  using client = await connect(listener);
  await until(() => socket !== undefined);
  assertEquals(listener.stats.active, 1);
  socket!.removeAllListeners().end("bye");
  assertEquals(await readAll(client), "bye");
  await until(() => listener.stats.active === 0);
});

Deno.test("serveNode() gives a function the listener and the data", async () => {
  await using listener = listen(
    HERE,
    serveNode((socket, { addr }, data: string) => {
      socket.end(`${addr.port} ${data}`);
    }),
    "data",
  );
  const answer = await readAll(await connect(listener));
  assertEquals(answer, `${listener.addr.port} data`);
});

Deno.test("serveNode() serves connections of listenTls()", async () => {
  await using listener = listenTls(
    { ...HERE, ...CERTIFICATE },
    serveNode((socket) => {
      socket.end(`${socket.encrypted} ${socket.remoteAddress}`);
    }),
  );
  const client = await Deno.connectTls({
    hostname: "localhost",
    port: listener.addr.port,
    caCerts: [CERTIFICATE.cert],
  });
  assertEquals(await readAll(client), "true 127.0.0.1");
});

Deno.test("serveNode() serves connections of a Unix socket", {
  ignore: Deno.build.os === "windows",
}, async () => {
  await using dir = new TempDir();
  const path = `${dir.path}/socket`;
  await using listener = listen(
    { transport: "unix", path },
    serveNode((socket) => void socket.end("hello")),
  );
  const client = await Deno.connect({ transport: "unix", path });
  assertEquals(await readAll(client), "hello");
  await listener.shutdown();
});

/** Lets a function fail, and returns what its listener has to say. */
async function fail(
  handle: (socket: NodeSocket) => unknown,
  during: (client: Deno.TcpConn) => Promise<unknown> = isClosed,
) {
  const errors: unknown[] = [];
  const options: ListenerOptions = {
    onConnectionError: (error) => errors.push(error),
  };
  await using listener = listen({ ...HERE, ...options }, serveNode(handle));
  using client = await connect(listener);
  await during(client);
  await until(() =>
    listener.stats.accepted === 1 && listener.stats.active === 0
  );
  return { errors, ...listener.stats };
}

Deno.test("serveNode() tells of a function that throws or rejects", async () => {
  const bug = new Error("a bug");
  const throws = () => {
    throw bug;
  };
  for (const handle of [throws, () => Promise.reject(bug)]) {
    const { errors, connectionErrors } = await fail(handle);
    assertEquals([errors, connectionErrors], [[bug], 1]);
  }
});

Deno.test("serveNode() is quiet when the client of a function goes away", async () => {
  const handle = async (socket: NodeSocket) => {
    for await (const _ of socket);
  };
  const { connectionErrors } = await fail(handle, async (client) => {
    await client.closeWrite();
    await isClosed(client);
  });
  assertEquals(connectionErrors, 0);
});

Deno.test("serveNode() waits for no function whose client has gone", async () => {
  const handle = () => new Promise(() => {});
  const { connectionErrors } = await fail(handle, async (client) => {
    await client.closeWrite();
    await isClosed(client);
  });
  assertEquals(connectionErrors, 0);
});

Deno.test("serveNode() tells of a function that fails after its client has gone", async () => {
  const bug = new Error("a bug");
  const handle = async (socket: NodeSocket) => {
    await socket.finished;
    throw bug;
  };
  const { errors } = await fail(handle, async (client) => {
    await client.closeWrite();
    await isClosed(client);
  });
  assertEquals(errors, [bug]);
});

Deno.test("serveNode() closes the connection of a server that throws", async () => {
  using _ = new QuietConsole();
  const server = createServer(() => {
    throw new Error("a bug");
  });
  await using listener = listen(HERE, serveNode(server));
  using client = await connect(listener);
  assert(await isClosed(client));
  await until(() => listener.stats.connectionErrors === 1);
});

Deno.test("serveNode() serves several listeners with one server", async () => {
  const server = createServer((socket) => socket.end(`${socket.localPort}`));
  const serve = serveNode(server);
  await using one = listen(HERE, serve);
  await using two = listen(HERE, serve);
  for (const { addr } of [one, two]) {
    assertEquals(await readAll(await connect({ addr })), `${addr.port}`);
  }
});

Deno.test("serveNode() refuses what is neither a server nor a function", () => {
  for (const target of [undefined, null, {}, "server"]) {
    assertThrows(
      () => serveNode(target as unknown as Server),
      TypeError,
      "Cannot serve as 'server' must be a net.Server or a function: received ",
    );
  }
});
