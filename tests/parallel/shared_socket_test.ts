/** A socket whose accept can be cancelled: internal/parallel/shared_socket.ts. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { ConnListener } from "@evconn/listener";
import type { SocketOwner } from "../../internal/accept/socket.ts";
import { findPlace } from "../../internal/parallel/place.ts";
import { SharedSocket } from "../../internal/parallel/shared_socket.ts";
import { connect, connectAll, turns, until } from "../helpers/clients.ts";

const closeAll = (conns: Deno.Conn[]) => conns.forEach((conn) => conn.close());
const ports = (conns: Deno.Conn[]) =>
  conns.map((conn) => (conn.remoteAddr as Deno.NetAddr).port);
const clientPorts = (clients: Deno.TcpConn[]) =>
  clients.map(({ localAddr }) => localAddr.port);

/** A function that opens sockets for one queue, and what keeps that open. */
function newQueue() {
  const bind = { hostname: "127.0.0.1", port: 0, tcpBacklog: 100 };
  const { port } = findPlace(bind).addr;
  const at = { hostname: "127.0.0.1", port, loadBalanced: true };
  const open = () => Deno.listen(at as Deno.TcpListenOptions);
  return { open, kept: open() };
}

/** Owns a shared socket, keeps what it gets, and wants connections when a test says so. */
class Owner implements SocketOwner, Disposable {
  readonly socket: SharedSocket;
  readonly conns: Deno.Conn[] = [];
  readonly errors: unknown[] = [];
  isAccepting = false;

  constructor(open: () => Deno.Listener) {
    this.socket = new SharedSocket(open);
    this.socket.own(this);
  }

  get addr(): Deno.NetAddr {
    return this.socket.addr as Deno.NetAddr;
  }

  want(isAccepting = true): void {
    this.isAccepting = isAccepting;
    if (isAccepting) this.socket.accept();
    else this.socket.cancel();
  }

  onConn(conn: Deno.Conn): void {
    this.conns.push(conn);
    if (this.isAccepting) this.socket.accept();
  }

  onError(error: unknown): void {
    this.errors.push(error);
  }

  [Symbol.dispose](): void {
    this.socket.release();
    closeAll(this.conns);
  }
}

Deno.test("cancel() cancels the accept in flight, and another socket takes who comes", async () => {
  const { open, kept } = newQueue();
  using _kept = kept;
  using one = new Owner(open);
  using other = new Owner(open);
  one.want();
  await turns(); // its accept is in flight
  one.want(false);
  await turns();
  using client = await connect(one);
  other.want();
  await until(() => other.conns.length === 1);
  other.want(false);
  await turns();

  // The one whose accept was cancelled goes on when it may.
  using second = await connect(one);
  await turns();
  one.want();
  await until(() => one.conns.length === 1);
  assertEquals([ports(other.conns), ports(one.conns)], [
    clientPorts([client]),
    clientPorts([second]),
  ]);
  assertEquals([one.errors, other.errors], [[], []]);
});

Deno.test("accept() right after cancel() goes on with the new socket", async () => {
  const { open, kept } = newQueue();
  using _kept = kept;
  using owner = new Owner(open);
  owner.want();
  await turns();
  for (let i = 0; i < 3; i++) {
    owner.want(false);
    owner.want();
  }
  const clients = await connectAll(owner, 3);
  await until(() => owner.conns.length === 3);
  assertEquals([ports(owner.conns), owner.errors], [clientPorts(clients), []]);
  closeAll(clients);
});

Deno.test("SharedSocket keeps the queue while nobody accepts", async () => {
  const { open, kept } = newQueue();
  using owner = new Owner(open);
  kept.close();
  owner.want();
  owner.want(false);
  const clients = await connectAll(owner, 5);
  await turns();
  owner.want();
  await until(() => owner.conns.length === 5);
  assertEquals(ports(owner.conns), clientPorts(clients));
  closeAll(clients);
});

Deno.test("suspend() cancels the accept, and begins it again when the last suspension ends", async () => {
  const { open, kept } = newQueue();
  using _kept = kept;
  using owner = new Owner(open);
  owner.want();
  const first = owner.socket.suspend();
  const second = owner.socket.suspend();
  await owner.socket.settled();
  using client = await connect(owner);
  first[Symbol.dispose]();
  owner.want(); // whatever the owner wants
  await turns();
  assertEquals(owner.conns, []);
  second[Symbol.dispose]();
  await until(() => owner.conns.length === 1);
  assertEquals(ports(owner.conns), clientPorts([client]));
});

Deno.test("suspend() begins no accept at its end if the owner wants nothing", async () => {
  const { open, kept } = newQueue();
  using _kept = kept;
  using owner = new Owner(open);
  owner.want();
  {
    using _suspended = owner.socket.suspend();
    owner.want(false);
  }
  using _client = await connect(owner);
  await turns();
  assertEquals(owner.conns, []);
});

Deno.test("leave() leaves the queue to the others, and tells the owner that the socket is closed", async () => {
  const { open, kept } = newQueue();
  using _kept = kept;
  using owner = new Owner(open);
  owner.want();
  await turns();
  owner.socket.leave();
  await until(() => owner.errors.length === 1);
  assert(owner.errors[0] instanceof Deno.errors.BadResource);
  using client = await connect(owner);
  using conn = await kept.accept();
  assertEquals(conn.remoteAddr, client.localAddr);
});

Deno.test("SharedSocket goes on accepting where no other socket can be opened", async () => {
  const { open, kept } = newQueue();
  using _kept = kept;
  let isOut = false;
  using owner = new Owner(() => {
    if (isOut) throw new Error("Too many open files");
    return open();
  });
  owner.want();
  await turns();
  isOut = true;
  owner.want(false);
  using client = await connect(owner);
  await until(() => owner.conns.length === 1); // for its owner to park it
  assertEquals(ports(owner.conns), clientPorts([client]));
});

Deno.test("a SharedSocket that changes hands cancels its accept, and loses nobody", async () => {
  const { open, kept } = newQueue();
  using _kept = kept;
  const socket = new SharedSocket(open);
  const delivered: number[] = [];
  const first = new ConnListener(socket.listener, {}, () => {});
  await turns(); // an accept is in flight
  const detached = first.detach();
  const asked = detached.accept();
  using client = await connect(first as ConnListener);
  using conn = await asked;
  assertEquals(ports([conn]), clientPorts([client]));
  await using second = new ConnListener(detached, {}, (conn) => {
    delivered.push((conn.remoteAddr as Deno.NetAddr).port);
    conn.close();
  });
  const clients = await connectAll(second as ConnListener, 3);
  await until(() => delivered.length === 3);
  assertEquals(delivered, clientPorts(clients));
  closeAll(clients);
});

Deno.test("release() of a SharedSocket ends the accept that was cancelled, too", async () => {
  const { open, kept } = newQueue();
  using _kept = kept;
  using owner = new Owner(open);
  owner.want();
  await turns();
  owner.want(false);
  await owner.socket.release(); // a socket that is left would be a leak
  await assertRejects(
    () => owner.socket.listener.accept(),
    Deno.errors.BadResource,
  );
});
