/** A socket that changes hands, around a plain listener: internal/accept/socket.ts. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { setImmediate } from "node:timers";
import { Socket } from "../../internal/accept/socket.ts";
import { CERTIFICATE } from "../helpers/certificate.ts";
import { connect, connectAll, turns } from "../helpers/clients.ts";
import { hasEnd } from "../helpers/has_end.ts";
import { shortQueue } from "../helpers/machine.ts";
import { TempDir } from "../helpers/temp_dir.ts";

const LOCAL = { hostname: "127.0.0.1", port: 0 };
const closeAll = (conns: Deno.Conn[]) => conns.forEach((conn) => conn.close());
const port = (client: Deno.TcpConn) => client.localAddr.port;

/** A socket that has connections in hand, and then the accept in flight; and its clients. */
async function withInHand(count: number) {
  const inner = Deno.listen(LOCAL);
  const socket = Socket.of(inner);
  const clients = await connectAll(inner, count);
  const inHand: (Deno.TcpConn | Promise<Deno.TcpConn>)[] = [];
  for (let i = 0; i < count; i++) inHand.push(await socket.accept());
  inHand.push(socket.accept());
  socket.handOver(inHand, true);
  return { socket, inner, clients };
}

/** Keeps whether something is told to keep the process alive. */
function watchRefs(listener: Deno.Listener): { isAlive?: boolean } {
  const watched: { isAlive?: boolean } = {};
  const [ref, unref] = [listener.ref, listener.unref];
  listener.ref = () => {
    watched.isAlive = true;
    ref.call(listener);
  };
  listener.unref = () => {
    watched.isAlive = false;
    unref.call(listener);
  };
  return watched;
}

Deno.test("Socket.of() of what was detached is the same socket, of any other a new one", () => {
  using inner = Deno.listen(LOCAL);
  const first = Socket.of(inner);
  assert(Socket.of(inner) !== first); // it was not detached yet
  assertEquals(first.handOver([], true), inner);
  assert(Socket.of(inner) === first);
  assert(Socket.of(first) === first);
});

Deno.test("transport tells TLS, TCP and Unix sockets apart", async () => {
  await using dir = new TempDir();
  const isUnix = Deno.build.os !== "windows";
  using tcp = Deno.listen(LOCAL);
  using tls = Deno.listenTls({ ...LOCAL, ...CERTIFICATE });
  using unix = isUnix
    ? Deno.listen({ transport: "unix", path: `${dir.path}/a.sock` })
    : undefined;
  assertEquals(Socket.of(tcp).transport, "tcp");
  assertEquals(Socket.of<Deno.Conn, Deno.Addr>(tls).transport, "TLS");
  if (unix) {
    assertEquals(Socket.of<Deno.Conn, Deno.Addr>(unix).transport, "unix");
  }
});

Deno.test("accept() gives what is in hand, then the accept in flight, then what comes", async () => {
  const { socket, clients } = await withInHand(2);
  using _ = socket;
  assert(socket.shown === socket);
  clients.push(...await connectAll(socket, 2));
  for (const client of clients) {
    using conn = await socket.accept();
    assertEquals(conn.remoteAddr.port, port(client));
  }
  closeAll(clients);
});

Deno.test("accept() passes over one in hand that fails", async () => {
  const { socket, clients } = await withInHand(0);
  using _ = socket;
  const failed = () => Promise.reject(new Error("reset"));
  socket.handOver([failed(), failed()], true);
  clients.push(...await connectAll(socket, 2));
  for (const client of clients) {
    using conn = await socket.accept();
    assertEquals(conn.remoteAddr.port, port(client));
  }
  closeAll(clients);
});

Deno.test("accept() is made once for what has changed hands before and after it has failed", async () => {
  using inner = Deno.listen(LOCAL);
  const socket = Socket.of(inner);
  const inFlight = Promise.withResolvers<Deno.TcpConn>();
  socket.handOver([inFlight.promise], true);
  // Whoever had it has asked for it, and has given it back; two of them.
  socket.handOver([socket.accept()], true);
  socket.handOver([socket.accept()], true);
  const accepted = socket.accept();
  accepted.catch(() => {}); // it is looked at below
  inFlight.reject(new Error("reset"));
  await turns();
  assertEquals(socket.accepts, 1);
  socket.handOver([accepted], true);
  const clients = await connectAll(socket, 2);
  for (const client of clients) {
    using conn = await socket.accept();
    assertEquals(conn.remoteAddr.port, port(client));
  }
  closeAll(clients);
});

/** A socket with two connections in hand, and an accept that has failed since it was given back. */
async function withFailedInHand() {
  const socket = Socket.of(Deno.listen(LOCAL));
  const clients = await connectAll(socket, 2);
  const conns = [await socket.accept(), await socket.accept()];
  const inFlight = Promise.withResolvers<Deno.TcpConn>();
  socket.handOver([inFlight.promise], true);
  socket.handOver([...conns, socket.accept()], true);
  inFlight.reject(new Error("reset"));
  await turns();
  return { socket, clients };
}

Deno.test("accept() keeps the order when one in hand fails that somebody had asked for", async () => {
  const { socket, clients } = await withFailedInHand();
  using _ = socket;
  clients.push(await connect(socket));
  for (const client of clients) {
    using conn = await socket.accept();
    assertEquals(conn.remoteAddr.port, port(client));
  }
  closeAll(clients);
});

Deno.test("close() closes all when one in hand has failed that somebody had asked for", async () => {
  const { socket, clients } = await withFailedInHand();
  socket.close();
  for (const client of clients) await hasEnd(client);
});

Deno.test("handOver() shows the socket as it was made when nothing is in hand", async () => {
  const { socket, inner, clients } = await withInHand(1);
  using _ = socket;
  assert(socket.shown === socket);
  const conns = [await socket.accept()];
  const last = socket.accept();
  clients.push(await connect(socket));
  conns.push(await last);
  assert(socket.shown === inner);
  closeAll([...conns, ...clients]);
});

Deno.test("handOver() remembers whether the process is to be kept alive", async () => {
  const { socket } = await withInHand(0);
  using _ = socket;
  assertEquals(socket.refed, true);
  socket.handOver([], false);
  assertEquals(socket.refed, false);
  socket.ref();
  assertEquals(socket.refed, true);
});

Deno.test("what is in flight keeps the process alive only when somebody has asked for it", async () => {
  const { socket, inner, clients } = await withInHand(2);
  using _ = socket;
  const watched = watchRefs(inner);
  const conns: Deno.Conn[] = [];
  const seen: (boolean | undefined)[] = [];
  socket.ref();
  seen.push(watched.isAlive);
  for (let i = 0; i < 2; i++) {
    conns.push(await socket.accept());
    seen.push(watched.isAlive);
  }
  const last = socket.accept();
  seen.push(watched.isAlive);
  socket.unref();
  seen.push(watched.isAlive);
  assertEquals(seen, [false, false, false, true, false]);
  socket.ref(); // this test waits for it
  clients.push(await connect(socket));
  closeAll([await last, ...conns, ...clients]);
});

Deno.test("close() closes all that is in hand", async () => {
  const { socket, clients } = await withInHand(2);
  socket.close();
  for (const client of clients) await hasEnd(client);
  await assertRejects(() => socket.accept(), Deno.errors.BadResource);
});

Deno.test("release() resolves when the address can be listened on again", async () => {
  const { socket } = await withInHand(0);
  const released = socket.release();
  assert(socket.release() === released);
  await released;
  Deno.listen({ ...LOCAL, port: socket.addr.port }).close();
});

Deno.test("release() resolves when the owner has closed the socket already", async () => {
  const inner = Deno.listen(LOCAL);
  const socket = Socket.of(inner);
  const rejected = assertRejects(
    () => socket.accept(),
    Deno.errors.BadResource,
  );
  inner.close();
  await socket.release();
  await rejected;
  Deno.listen({ ...LOCAL, port: socket.addr.port }).close();
});

/** Accepts one after the other, and counts. Ends with the socket. */
async function acceptAll(socket: Socket): Promise<number> {
  let accepted = 0;
  for await (const conn of socket) {
    accepted++;
    conn.close();
  }
  return accepted;
}

Deno.test("dry() resolves when all that waited were accepted", {
  ignore: shortQueue(300),
}, async () => {
  const socket = Socket.of(Deno.listen(LOCAL));
  const clients = await connectAll(socket, 300);
  const accepted = acceptAll(socket);
  await socket.dry(Infinity);
  await socket.release();
  assertEquals(await accepted, 300);
  closeAll(clients);
});

Deno.test("dry() resolves when nobody has come at all", async () => {
  const socket = Socket.of(Deno.listen(LOCAL));
  const accepted = acceptAll(socket);
  await socket.dry(Infinity);
  await socket.release();
  assertEquals(await accepted, 0);
});

Deno.test("dry() resolves when enough were accepted, although others come", async () => {
  const inner = Deno.listen(LOCAL);
  using client = await connect(inner);
  using conn = await inner.accept();
  inner.accept = async () => {
    await new Promise((resolve) => setImmediate(resolve));
    if (isClosing) throw new Deno.errors.BadResource("closed");
    return conn; // there is always another
  };
  let isClosing = false;
  const socket = Socket.of(inner);
  const accepting = (async () => {
    while (!isClosing) await socket.accept().catch(() => {});
  })();
  await socket.dry(50);
  assert(socket.accepts >= 50);
  isClosing = true;
  await accepting;
  await socket.release();
  assertEquals(conn.remoteAddr.port, port(client));
});
