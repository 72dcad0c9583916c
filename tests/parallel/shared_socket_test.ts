/** A socket whose accept can be cancelled: internal/parallel/shared_socket.ts. */
import { assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import { findPlace } from "../../internal/parallel/place.ts";
import { SharedSocket } from "../../internal/parallel/shared_socket.ts";
import {
  connect,
  connectAll,
  connectAndReset,
  turns,
} from "../helpers/clients.ts";
import { NODE_CLIENTS_RESET } from "../helpers/this_deno.ts";

/** A function that opens sockets for one queue, and keeps that open. */
function newQueue() {
  const bind = { hostname: "127.0.0.1", port: 0, tcpBacklog: 100 };
  const { port } = findPlace(bind).addr;
  const open = () =>
    Deno.listen(
      {
        hostname: "127.0.0.1",
        port,
        loadBalanced: true,
      } as Deno.TcpListenOptions,
    );
  return { open, kept: open() };
}

Deno.test("SharedSocket.stop() cancels the accept in flight, and another takes who comes", async () => {
  const { open, kept } = newQueue();
  using _kept = kept;
  const one = new SharedSocket(open);
  const other = new SharedSocket(open);
  const accepted = one.accept();
  await one.stop();
  using client = await connect(one);
  using conn = await other.accept();
  assertEquals(conn.remoteAddr, client.localAddr);

  // The accept that was cancelled goes on when it may.
  using second = await connect(one);
  one.take("anybody");
  using late = await accepted;
  assertEquals(late.remoteAddr, second.localAddr);
  one.close();
  other.close();
});

Deno.test("SharedSocket keeps the queue while nobody accepts", async () => {
  const { open, kept } = newQueue();
  kept.close();
  const socket = new SharedSocket(open);
  const accepted = socket.accept();
  socket.take("nobody");
  const clients = await connectAll(socket, 5);
  await turns();
  socket.take("anybody");
  using first = await accepted;
  assertEquals(first.remoteAddr, clients[0]!.localAddr);
  for (const client of clients.slice(1)) {
    using conn = await socket.accept();
    assertEquals(conn.remoteAddr, client.localAddr);
  }
  for (const client of clients) client.close();
  socket.close();
});

Deno.test("SharedSocket.acceptNow() takes who is in the queue, and waits for nobody", async () => {
  const { open, kept } = newQueue();
  using _kept = kept;
  const socket = new SharedSocket(open);
  assertStrictEquals(await socket.acceptNow(), undefined);
  using client = await connect(socket);
  using conn = await socket.acceptNow();
  assertEquals(conn?.remoteAddr, client.localAddr);
  assertStrictEquals(await socket.acceptNow(), undefined);
  await socket.stop();
  using _waits = await connect(socket);
  assertStrictEquals(await socket.acceptNow(), undefined);
  socket.close();
});

Deno.test(
  "SharedSocket.acceptNow() rejects once, and in time, where the client has gone",
  {
    ignore: !NODE_CLIENTS_RESET,
  },
  async () => {
    const { open, kept } = newQueue();
    using _kept = kept;
    const socket = new SharedSocket(open);
    await connectAndReset(socket, 3);
    for (let i = 0; i < 3; i++) {
      await assertRejects(() => socket.acceptNow(), Deno.errors.NotConnected);
    }
    assertStrictEquals(await socket.acceptNow(), undefined);
    socket.close();
  },
);

Deno.test("SharedSocket.leave() leaves the queue to the others, and close() ends what waits", async () => {
  const { open, kept } = newQueue();
  using _kept = kept;
  const socket = new SharedSocket(open);
  const accepted = socket.accept();
  await socket.leave();
  using client = await connect(socket);
  socket.take("anybody");
  using conn = await kept.accept();
  assertEquals(conn.remoteAddr, client.localAddr);
  socket.close();
  await assertRejects(() => accepted, Deno.errors.BadResource);
  await assertRejects(() => socket.accept(), Deno.errors.BadResource);
});

Deno.test("SharedSocket goes on accepting where no other socket can be opened", async () => {
  const { open, kept } = newQueue();
  using _kept = kept;
  let isOut = false;
  const socket = new SharedSocket(() => {
    if (isOut) throw new Error("Too many open files");
    return open();
  });
  const accepted = socket.accept();
  isOut = true;
  socket.take("nobody");
  using client = await connect(socket);
  using conn = await accepted; // for who has asked to park it
  assertEquals(conn.remoteAddr, client.localAddr);
  socket.close();
});
