/** A socket without an owner, as detach() gives it: internal/accept/detached_socket.ts. */
import {
  assert,
  assertEquals,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { ConnListener, listen } from "@evconn/listener";
import { socketOf } from "../../internal/accept/detached_socket.ts";
import { CERTIFICATE } from "../helpers/certificate.ts";
import { connect, connectAll, turns, until } from "../helpers/clients.ts";
import { hasEnd } from "../helpers/has_end.ts";
import { runProgram } from "../helpers/program.ts";
import { TempDir } from "../helpers/temp_dir.ts";

const LOCAL = { hostname: "127.0.0.1", port: 0 };
const closeAll = (conns: Deno.Conn[]) => conns.forEach((conn) => conn.close());
const port = (client: Deno.TcpConn) => client.localAddr.port;

/** What detach() gives with a parked connection, and its client. */
async function withParked() {
  const listener = listen(LOCAL, () => {});
  await turns(); // an accept is in flight
  listener.pause();
  const client = await connect(listener);
  await until(() => listener.stats.parked === 1);
  return { socket: listener.detach(), client };
}

Deno.test("socketOf() gives one socket for a listener, whoever has detached it", async () => {
  using listener = Deno.listen(LOCAL);
  const socket = socketOf(listener);
  assertStrictEquals(socketOf(listener), socket);
  const idle = new ConnListener(listener).detach();
  assertStrictEquals(idle, listener);
  const accepting = new ConnListener(listener, {}, () => {}).detach();
  assertStrictEquals(socketOf(accepting), socket);
  await socket.release();
});

Deno.test("socketOf() tells TLS, TCP and Unix sockets apart", async () => {
  await using dir = new TempDir();
  const isUnix = Deno.build.os !== "windows";
  using tcp = Deno.listen(LOCAL);
  using tls = Deno.listenTls({ ...LOCAL, ...CERTIFICATE });
  using unix = isUnix
    ? Deno.listen({ transport: "unix", path: `${dir.path}/a.sock` })
    : undefined;
  assertEquals(socketOf(tcp).transport, "tcp");
  assertEquals(socketOf(tls).transport, "TLS");
  if (unix) assertEquals(socketOf(unix).transport, "unix");
});

Deno.test("detach() gives Deno's own listener when nothing was accepted for it", async () => {
  const listener = listen(LOCAL);
  const { socket } = listener;
  using detached = listener.detach();
  assertStrictEquals(detached, socket);
  using client = await connect(detached);
  using conn = await detached.accept();
  assertEquals(conn.remoteAddr.port, port(client));
});

Deno.test("detach() gives Deno's own listener again once the next owner has taken all", async () => {
  const { socket, client } = await withParked();
  const second = new ConnListener(socket);
  using conn = await second.accept();
  assertEquals(conn.remoteAddr.port, port(client));
  const denosOwn = second.socket;
  using detached = second.detach();
  assertStrictEquals(detached, denosOwn);
  client.close();
});

Deno.test("what detach() gives is a Deno.Listener in every respect that a program can see", async () => {
  const { socket, client } = await withParked();
  using own = Deno.listen(LOCAL);
  for (const name of ["accept", "close", "ref", "unref", "addr"] as const) {
    assertEquals(typeof socket[name], typeof own[name], name);
  }
  assert(Symbol.asyncIterator in socket && Symbol.dispose in socket);
  assertEquals(socket.addr.hostname, "127.0.0.1");
  socket.close();
  assertThrows(() => socket.close(), Deno.errors.BadResource); // as Deno's own
  socket[Symbol.dispose]();
  await assertRejects(() => socket.accept(), Deno.errors.BadResource);
  await hasEnd(client);
});

Deno.test("for await over what detach() gives yields what was accepted first, and ends with close()", async () => {
  const { socket, client } = await withParked();
  const clients = [client, ...await connectAll(socket, 2)];
  const ports: number[] = [];
  for await (const conn of socket) {
    conn.close();
    ports.push(conn.remoteAddr.port);
    if (ports.length === clients.length) setTimeout(() => socket.close(), 1);
  }
  assertEquals(ports, clients.map(port));
  closeAll(clients);
});

Deno.test("for await over what detach() gives closes the socket when it is left", async () => {
  const { socket, client } = await withParked();
  for await (const conn of socket) {
    conn.close();
    break;
  }
  await assertRejects(() => socket.accept(), Deno.errors.BadResource);
  client.close();
});

Deno.test("accept() of what detach() gives may be called several times at once", async () => {
  const { socket, client } = await withParked();
  const accepted = [socket.accept(), socket.accept(), socket.accept()];
  const clients = [client, ...await connectAll(socket, 2)];
  const conns = await Promise.all(accepted);
  assertEquals(
    conns.map((conn) => conn.remoteAddr.port),
    clients.map(port),
  );
  socket.close();
  closeAll([...conns, ...clients]);
});

Deno.test("accept() of what detach() gives is Busy once it has an owner", async () => {
  const { socket, client } = await withParked();
  await using _listener = new ConnListener(socket);
  await assertRejects(() => socket.accept(), Deno.errors.Busy);
  client.close();
});

/** What a process prints that has a detached socket with an accept in flight. */
async function printed(program: string): Promise<string> {
  const { stdout, stderr, code } = await runProgram(`
    const listener = evconn.listen({ hostname: "127.0.0.1", port: 0 }, () => {});
    const socket = listener.detach();
    ${program}
    Deno.unrefTimer(setTimeout(() => {
      console.log("alive");
      Deno.exit();
    }, 200));`);
  assertEquals([code, stderr], [0, ""]);
  return stdout;
}

Deno.test("what detach() gives keeps the process alive while somebody waits in accept(), by ref() and unref()", async () => {
  const accept = "socket.accept().catch(() => {});";
  assertEquals(await printed(""), "");
  assertEquals(await printed(accept), "alive");
  assertEquals(await printed(`${accept} socket.unref();`), "");
  assertEquals(
    await printed(`socket.unref(); ${accept} socket.ref();`),
    "alive",
  );
});
