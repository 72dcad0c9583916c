/** A listening socket and its owners: internal/accept/socket.ts. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { setImmediate } from "node:timers";
import { Socket, type SocketOwner } from "../../internal/accept/socket.ts";
import { connect, connectAll, turns, until } from "../helpers/clients.ts";
import { hasEnd } from "../helpers/has_end.ts";
import { osError, StandIn } from "../helpers/stand_in.ts";

const LOCAL = { hostname: "127.0.0.1", port: 0 };
const closeAll = (conns: Deno.Conn[]) => conns.forEach((conn) => conn.close());
const ports = (conns: Deno.Conn[]) =>
  conns.map((conn) => (conn.remoteAddr as Deno.NetAddr).port);
const clientPorts = (clients: Deno.TcpConn[]) =>
  clients.map(({ localAddr }) => localAddr.port);

/** A socket on this machine, and what `connect()` needs of it. */
class Local extends Socket implements Disposable {
  declare readonly addr: Deno.NetAddr;

  constructor(listener: Deno.Listener = Deno.listen(LOCAL)) {
    super(listener, "tcp");
  }

  [Symbol.dispose](): void {
    this.release();
  }
}

/** An owner that keeps what it gets, and wants so many connections. */
class Owner implements SocketOwner {
  readonly conns: Deno.Conn[] = [];
  readonly errors: unknown[] = [];
  readonly #socket: Socket;
  wanted = 0;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.own(this);
  }

  get isAccepting(): boolean {
    return this.wanted > 0;
  }

  want(count = 1): void {
    this.wanted = count;
    if (count > 0) this.#socket.accept();
  }

  onConn(conn: Deno.Conn): void {
    this.conns.push(conn);
    this.want(this.wanted - 1);
  }

  onError(error: unknown): void {
    this.errors.push(error);
  }

  /** Gives up the socket, with all that it has got. */
  leave(isRefed = true): void {
    this.wanted = 0;
    this.#socket.disown(this.conns.splice(0), isRefed);
  }
}

/** A socket without an owner: connections that were not delivered, and an accept in flight. */
async function disowned(count: number) {
  const socket = new Local();
  const clients = await connectAll(socket, count);
  const owner = new Owner(socket);
  owner.want(count + 1);
  await until(() => owner.conns.length === count);
  owner.leave();
  return { socket, clients };
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

/** A socket on which each accept fails when a test says so, with the errors that are left. */
function failing(...errors: Error[]) {
  const fails: (() => void)[] = [];
  const inner = Deno.listen(LOCAL);
  const { accept } = inner;
  let calls = 0;
  inner.accept = () => {
    calls++;
    const error = errors.shift();
    if (error === undefined) return accept.call(inner);
    return new Promise((_, reject) => fails.push(() => reject(error)));
  };
  return {
    socket: new Local(inner),
    fail: () => fails.shift()!(),
    calls: () => calls,
  };
}

Deno.test("accept() begins one accept, however often it is called", async () => {
  const { socket, calls } = failing();
  using _ = socket;
  const owner = new Owner(socket);
  owner.want(3);
  owner.want(3);
  assertEquals([calls(), socket.accepts], [1, 1]);
  const clients = await connectAll(socket, 3);
  await until(() => owner.conns.length === 3);
  assertEquals(ports(owner.conns), clientPorts(clients));
  await turns();
  assertEquals(calls(), 3);
  closeAll([...owner.conns, ...clients]);
});

Deno.test("an accept that an owner has begun brings its connection to the next owner", async () => {
  const { socket, calls } = failing();
  using _ = socket;
  const first = new Owner(socket);
  first.want();
  first.leave();
  const second = new Owner(socket);
  using client = await connect(socket);
  await until(() => second.conns.length === 1); // wanted or not
  assertEquals(ports(second.conns), clientPorts([client]));
  assertEquals([first.conns, calls()], [[], 1]);
  closeAll(second.conns);
});

Deno.test("an accept that an owner has begun keeps its connection for ask() after it", async () => {
  const { socket, clients } = await disowned(0);
  using _ = socket;
  clients.push(await connect(socket));
  await turns(); // it is here
  assert(socket.hasUndelivered);
  using conn = await socket.ask();
  assertEquals(ports([conn]), clientPorts(clients));
  assertEquals(socket.hasUndelivered, false);
  closeAll(clients);
});

Deno.test("ask() gives what was not delivered, then what is in flight, then what comes", async () => {
  const { socket, clients } = await disowned(2);
  using _ = socket;
  clients.push(...await connectAll(socket, 3));
  const conns: Deno.Conn[] = [];
  for (const _ of clients) conns.push(await socket.ask());
  assertEquals(ports(conns), clientPorts(clients));
  closeAll([...conns, ...clients]);
});

Deno.test("ask() several times at once is answered in order", async () => {
  const { socket, clients } = await disowned(2);
  using _ = socket;
  const asked = clients.concat(clients).map(() => socket.ask());
  clients.push(...await connectAll(socket, 2));
  const conns = await Promise.all(asked);
  assertEquals(ports(conns), clientPorts(clients));
  closeAll([...conns, ...clients]);
});

Deno.test("ask() is Busy while the socket has an owner", async () => {
  using socket = new Local();
  new Owner(socket);
  await assertRejects(() => socket.ask(), Deno.errors.Busy);
});

Deno.test("accept() hands out what was not delivered in order, one a microtask and never at once", async () => {
  const { socket, clients } = await disowned(3);
  using _ = socket;
  clients.push(await connect(socket)); // for the accept in flight
  await turns();
  const owner = new Owner(socket);
  owner.want(4);
  const seen: number[] = [owner.conns.length];
  while (owner.conns.length < 4) {
    await Promise.resolve();
    if (owner.conns.length > seen.at(-1)!) seen.push(owner.conns.length);
  }
  assertEquals(seen, [0, 1, 2, 3, 4]);
  assertEquals(ports(owner.conns), clientPorts(clients));
  closeAll([...owner.conns, ...clients]);
});

Deno.test("accept() begins none while something is not delivered", async () => {
  const { socket, calls } = failing();
  using _ = socket;
  const clients = await connectAll(socket, 2);
  const first = new Owner(socket);
  first.want(2);
  await until(() => first.conns.length === 2);
  first.leave();
  const second = new Owner(socket);
  second.want(2);
  await until(() => second.conns.length === 2);
  assertEquals(calls(), 2);
  closeAll([...second.conns, ...clients]);
});

Deno.test("what comes while something is not delivered goes behind it", async () => {
  const { socket, clients } = await disowned(2);
  using _ = socket;
  const owner = new Owner(socket); // wants nothing
  clients.push(await connect(socket));
  await turns(); // it has come
  assertEquals(owner.conns, []);
  owner.want(3);
  await until(() => owner.conns.length === 3);
  assertEquals(ports(owner.conns), clientPorts(clients));
  closeAll([...owner.conns, ...clients]);
});

Deno.test("disown() puts what an owner gives back before what it has not got", async () => {
  const { socket, clients } = await disowned(3);
  using _ = socket;
  for (let round = 0; round < 2; round++) {
    const owner = new Owner(socket);
    owner.want(2);
    await until(() => owner.conns.length === 2);
    owner.leave();
  }
  const conns = [await socket.ask(), await socket.ask(), await socket.ask()];
  assertEquals(ports(conns), clientPorts(clients));
  closeAll([...conns, ...clients]);
});

Deno.test("a failure of an accept that was begun for another owner is told to the present one", async () => {
  const error = osError("EMFILE");
  const { socket, fail } = failing(error);
  using _ = socket;
  const first = new Owner(socket);
  first.want();
  first.leave();
  const second = new Owner(socket);
  fail();
  await until(() => second.errors.length === 1);
  assertEquals([first.errors, second.errors], [[], [error]]);
});

Deno.test("a failure of an accept that was begun for an owner is not told to ask(), for which another begins", async () => {
  const { socket, fail, calls } = failing(osError("EMFILE"));
  using _ = socket;
  const owner = new Owner(socket);
  owner.want();
  owner.leave();
  const asked = socket.ask();
  fail();
  using client = await connect(socket);
  using conn = await asked;
  assertEquals(ports([conn]), clientPorts([client]));
  assertEquals([owner.errors, calls()], [[], 2]);
});

Deno.test("a failure while nobody owns the socket and nobody asks is forgotten", async () => {
  const { socket, fail } = failing(osError("EMFILE"));
  using _ = socket;
  const owner = new Owner(socket);
  owner.want();
  owner.leave();
  fail();
  await turns();
  using client = await connect(socket);
  using conn = await socket.ask();
  assertEquals(ports([conn]), clientPorts([client]));
});

Deno.test("ask() rejects with a failure of the accept that it has begun, and the others that ask go on", async () => {
  const { socket, fail } = failing(osError("EMFILE"));
  using _ = socket;
  const asked = [socket.ask(), socket.ask()];
  fail();
  await assertRejects(() => asked[0]!, Error, "EMFILE");
  using client = await connect(socket);
  using conn = await asked[1]!;
  assertEquals(ports([conn]), clientPorts([client]));
});

Deno.test("giveBack() keeps a connection for who asks next, and gives it to who has asked", async () => {
  using socket = new Local();
  const clients = await connectAll(socket, 2);
  const owner = new Owner(socket);
  owner.want(2);
  await until(() => owner.conns.length === 2);
  const [first, second] = owner.conns.splice(0);
  owner.leave();
  socket.giveBack(first!);
  using one = await socket.ask();
  const asked = socket.ask();
  socket.giveBack(second!);
  using other = await asked;
  assertEquals(ports([one, other]), clientPorts(clients));
  closeAll(clients);
});

Deno.test("what is in flight without an owner keeps the process alive only when somebody has asked for it", async () => {
  const inner = Deno.listen(LOCAL);
  const watched = watchRefs(inner);
  using socket = new Local(inner);
  const clients = await connectAll(socket, 2);
  const owner = new Owner(socket);
  owner.want(3);
  await until(() => owner.conns.length === 2);
  owner.leave();
  const conns: Deno.Conn[] = [];
  const seen: (boolean | undefined)[] = [];
  socket.ref();
  seen.push(watched.isAlive);
  for (let i = 0; i < 2; i++) {
    conns.push(await socket.ask());
    seen.push(watched.isAlive);
  }
  const last = socket.ask();
  seen.push(watched.isAlive);
  socket.unref();
  seen.push(watched.isAlive);
  assertEquals(seen, [false, false, false, true, false]);
  clients.push(await connect(socket));
  closeAll([await last, ...conns, ...clients]);
});

Deno.test("disown() remembers whether the process is to be kept alive", async () => {
  const { socket } = await disowned(0);
  using _ = socket;
  assertEquals(socket.isRefed, true);
  new Owner(socket).leave(false);
  assertEquals(socket.isRefed, false);
  socket.ref();
  assertEquals(socket.isRefed, true);
});

Deno.test("release() closes all that was not delivered, and what is in flight", async () => {
  const { socket, clients } = await disowned(2);
  clients.push(await connect(socket));
  await socket.release();
  for (const client of clients) await hasEnd(client);
  await assertRejects(() => socket.ask(), Deno.errors.BadResource);
});

Deno.test("release() rejects those that have asked once the address is free", async () => {
  const { socket } = await disowned(0);
  const asked = [socket.ask(), socket.ask()];
  socket.release();
  for (const promise of asked) {
    await assertRejects(() => promise, Deno.errors.BadResource);
    Deno.listen({ ...LOCAL, port: socket.addr.port }).close();
  }
});

Deno.test("release() closes what is given back after it", async () => {
  using socket = new Local();
  using client = await connect(socket);
  const owner = new Owner(socket);
  owner.want();
  await until(() => owner.conns.length === 1);
  const released = socket.release();
  socket.giveBack(owner.conns[0]!);
  await hasEnd(client);
  await released;
});

Deno.test("release() resolves when the address can be listened on again", async () => {
  const { socket } = await disowned(0);
  const released = socket.release();
  assert(socket.release() === released);
  await released;
  Deno.listen({ ...LOCAL, port: socket.addr.port }).close();
});

Deno.test("release() resolves when the program has closed the socket already", async () => {
  using socket = new Local();
  const owner = new Owner(socket);
  owner.want();
  socket.listener.close();
  await socket.release();
  Deno.listen({ ...LOCAL, port: socket.addr.port }).close();
});

/** Takes one connection after the other, closes it, and counts. */
class Counter implements SocketOwner {
  readonly isAccepting = true;
  readonly #socket: Socket;
  count = 0;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.own(this);
    socket.accept();
  }

  onConn(conn: Deno.Conn): void {
    this.count++;
    conn[Symbol.dispose]();
    this.#socket.accept();
  }

  onError(error: unknown): void {
    throw error;
  }
}

for (const count of [0, 120]) { // a queue holds 128 on any system
  Deno.test(`queueEmpty() resolves when all ${count} that waited were accepted`, async () => {
    using socket = new Local();
    const clients = await connectAll(socket, count);
    const counter = new Counter(socket);
    await socket.queueEmpty(Infinity);
    await socket.release();
    assertEquals(counter.count, count);
    closeAll(clients);
  });
}

Deno.test("queueEmpty() resolves when enough accepts were begun, although others come", async () => {
  using inner = new StandIn(() => undefined);
  using client = await connect(inner);
  using conn = await inner.accept();
  inner.accept = async () => {
    await new Promise((resolve) => setImmediate(resolve));
    return conn; // there is always another
  };
  using socket = new Local(inner);
  const owner = new Owner(socket);
  owner.want(1000);
  await socket.queueEmpty(50);
  assert(socket.accepts >= 50);
  owner.wanted = 0;
  await socket.release();
  assertEquals(ports([conn]), clientPorts([client]));
});
