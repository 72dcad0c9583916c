/** maxConnectionsPerPeer: how many connections one client address may have. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  type ConnectionCallback,
  type ConnListener,
  LEV_OPT_DEFERRED_ACCEPT,
  listen,
  type ListenerOptions,
} from "@evconn/listener";
import { type Peer, Peers } from "../../internal/conn/peers.ts";
import {
  connect,
  connectAll,
  isClosed,
  turns,
  until,
} from "../helpers/clients.ts";
import { echo } from "../helpers/faults.ts";
import {
  connectAs,
  connectFrom,
  headerOf,
  isServed,
} from "../helpers/peer_clients.ts";
import { missingAddress } from "../helpers/machine.ts";
import { random } from "../helpers/proxy_headers.ts";
import { size } from "../helpers/size.ts";
import { TempDir } from "../helpers/temp_dir.ts";
import { NODE_CLIENTS_CHOOSE } from "../helpers/this_deno.ts";

const LOCAL = { hostname: "127.0.0.1", port: 0 };
const PROXIED = { ...LOCAL, proxyProtocol: true };
const closeAll = (conns: Disposable[]) =>
  conns.forEach((conn) => conn[Symbol.dispose]());

/** A way to have an address, and the options that it needs. */
interface Way {
  name: string;
  options: ListenerOptions;
  connect(peer: number, to: ConnListener): Promise<Deno.TcpConn>;
}

const bySocket = (peer: number, to: ConnListener) =>
  connectFrom(`127.0.0.${peer}`, to);
const byHeader = (peer: number, to: ConnListener) =>
  connectAs(`192.0.2.${peer}`, to);
const DEFERRED = { flags: LEV_OPT_DEFERRED_ACCEPT };
const BY_HEADER = { proxyProtocol: true };

const noOtherAddress = !NODE_CLIENTS_CHOOSE || missingAddress("127.0.0.2");

/** One test for each way to have an address. */
function testBy(name: string, test: (way: Way) => Promise<void>): void {
  const ways = [
    { name: "by socket", options: {}, connect: bySocket },
    { name: "by socket, deferred", options: DEFERRED, connect: bySocket },
    { name: "by PROXY header", options: BY_HEADER, connect: byHeader },
    {
      name: "by PROXY header, deferred",
      options: { ...DEFERRED, ...BY_HEADER },
      connect: byHeader,
    },
  ];
  for (const way of ways) {
    Deno.test({
      name: `${name}, ${way.name}`,
      ignore: way.connect === bySocket && noOtherAddress,
      fn: () => test(way),
    });
  }
}

testBy(
  "maxConnectionsPerPeer lets in as many as it says, whoever comes and goes",
  async ({ options, connect }) => {
    await using listener = listen(
      { ...LOCAL, ...options, maxConnectionsPerPeer: 3 },
      echo,
    );
    const next = random(10);
    const peers: Deno.TcpConn[][] = [[], [], []];
    for (let step = 0; step < 200; step++) {
      const peer = next(3);
      const conns = peers[peer]!;
      if (next(3) === 0 && conns.length > 0) {
        conns.splice(next(conns.length), 1)[0]!.close();
        const left = peers.flat().length;
        await until(() => listener.stats.active === left);
        continue;
      }
      const conn = await connect(peer + 1, listener);
      assertEquals(await isServed(conn), conns.length < 3);
      if (conns.length < 3) conns.push(conn);
      else conn.close();
    }
    closeAll(peers.flat());
  },
);

testBy(
  "maxConnectionsPerPeer is exact when all clients come at once",
  async ({ options, connect }) => {
    await using listener = listen(
      { ...LOCAL, ...options, maxConnectionsPerPeer: 4 },
      echo,
    );
    for (let round = 0; round < 3; round++) {
      const clients = await Promise.all(
        Array.from({ length: 30 }, (_, i) => connect(1 + i % 3, listener)),
      );
      const served = await Promise.all(clients.map(isServed));
      for (let peer = 0; peer < 3; peer++) {
        const own = served.filter((isServed, i) => i % 3 === peer && isServed);
        assertEquals(own.length, 4);
      }
      closeAll(clients);
      await until(() => listener.stats.active === 0);
    }
    assertEquals(listener.stats.rejected, 3 * (30 - 12));
  },
);

Deno.test("maxConnectionsPerPeer counts clients that say nothing yet, when deferred", async () => {
  await using listener = listen(
    { ...LOCAL, ...DEFERRED, maxConnectionsPerPeer: 2 },
    echo,
  );
  const silent = await connectAll(listener, 2);
  await until(() => listener.stats.waiting === 2);
  using third = await connect(listener);
  assert(await isClosed(third));
  silent[0]!.close();
  await until(() => listener.stats.waiting === 1);
  using fourth = await connect(listener);
  assert(await isServed(fourth));
  assert(await isServed(silent[1]!));
  assertEquals([listener.stats.rejected, listener.stats.aborted], [1, 1]);
  silent[1]!.close();
});

Deno.test("maxConnectionsPerPeer does not count a client whose header is not complete", async () => {
  await using listener = listen({ ...PROXIED, maxConnectionsPerPeer: 1 }, echo);
  const slow = await connectAll(listener, 2);
  const header = headerOf("192.0.2.1");
  for (const conn of slow) await conn.write(header.subarray(0, 20));
  using quick = await connectAs("192.0.2.1", listener);
  assert(await isServed(quick));
  quick.closeWrite();
  await until(() => listener.stats.active === 0);
  await slow[0]!.write(header.subarray(20));
  assert(await isServed(slow[0]!));
  await slow[1]!.write(header.subarray(20));
  assert(await isClosed(slow[1]!));
  closeAll(slow);
});

for (const overflow of ["queue", "reject"] as const) {
  Deno.test(`maxConnectionsPerPeer turns away at once with overflow: "${overflow}"`, async () => {
    await using listener = listen(
      { ...PROXIED, overflow, maxConnections: 3, maxConnectionsPerPeer: 1 },
      echo,
    );
    using first = await connectAs("192.0.2.1", listener);
    assert(await isServed(first));
    using excess = await connectAs("192.0.2.1", listener);
    assert(await isClosed(excess));
    assertEquals([listener.stats.rejected, listener.holds], [1, []]);
    using other = await connectAs("192.0.2.2", listener);
    assert(await isServed(other)); // nobody stands in its way
  });
}

Deno.test("maxConnectionsPerPeer counts an IPv4-mapped address as IPv4, and IPv6 by its /64", async () => {
  await using listener = listen({ ...PROXIED, maxConnectionsPerPeer: 1 }, echo);
  const cases: [address: string, isServed: boolean][] = [
    ["192.0.2.1", true],
    ["::ffff:192.0.2.1", false],
    ["::ffff:c000:201", false],
    ["::ffff:192.0.2.2", true], // not by the /64 of all that are mapped
    ["192.0.2.2", false],
    ["2001:db8:0:1::1", true],
    ["2001:0DB8::1:ffff:0:0:1", false],
    ["2001:db8:0:2::1", true],
    ["::1", true],
    ["::2", false],
  ];
  const clients: Deno.TcpConn[] = [];
  for (const [address, expected] of cases) {
    const conn = await connectAs(address, listener);
    clients.push(conn);
    assertEquals([address, await isServed(conn)], [address, expected]);
  }
  closeAll(clients);
});

Deno.test("maxConnectionsPerPeer may be set, lowered and raised while the listener runs", async () => {
  await using listener = listen(LOCAL, echo);
  assertEquals(listener.maxConnectionsPerPeer, Infinity);
  const clients: Deno.TcpConn[] = [];
  const nextIsServed = async () => {
    const conn = await connect(listener);
    const served = await isServed(conn);
    if (served) clients.push(conn);
    else conn.close();
    return served;
  };
  const leave = async () => {
    clients.pop()!.close();
    await until(() => listener.stats.active === clients.length);
  };
  assert(await nextIsServed());
  assert(await nextIsServed());
  listener.maxConnectionsPerPeer = 2; // those that are there count
  assert(!await nextIsServed());
  listener.maxConnectionsPerPeer = 1; // and stay
  await leave();
  assert(!await nextIsServed());
  await leave();
  assert(await nextIsServed());
  listener.maxConnectionsPerPeer = 3;
  assert(await nextIsServed());
  assert(await nextIsServed());
  assert(!await nextIsServed());
  listener.maxConnectionsPerPeer = Infinity;
  assert(await nextIsServed());
  assert(await isServed(clients[0]!)); // none was closed
  while (clients.length > 0) await leave();
  listener.maxConnectionsPerPeer = 1; // nobody was forgotten in it
  assert(await nextIsServed());
  assert(!await nextIsServed());
  await leave();
});

Deno.test("maxConnectionsPerPeer that is set counts who is parked", async () => {
  await using listener = listen(LOCAL, echo);
  await turns(); // an accept is in flight
  listener.pause();
  using first = await connect(listener);
  await until(() => listener.stats.parked === 1);
  listener.maxConnectionsPerPeer = 1;
  listener.resume();
  assert(await isServed(first));
  using second = await connect(listener);
  assert(!await isServed(second));
});

Deno.test("maxConnectionsPerPeer that is set counts a client by the address of its header, once that is here", async () => {
  await using listener = listen(PROXIED, echo);
  using first = await connect(listener);
  await until(() => listener.stats.waiting === 1);
  listener.maxConnectionsPerPeer = 1;
  await first.write(headerOf("192.0.2.1"));
  assert(await isServed(first));
  using second = await connectAs("192.0.2.1", listener);
  assert(!await isServed(second));
  using other = await connectAs("192.0.2.2", listener);
  assert(await isServed(other));
});

Deno.test("maxConnectionsPerPeer that is set in admit holds for that connection, too", async () => {
  await using listener = listen({
    ...PROXIED,
    admit: (_, listener) => {
      listener.maxConnectionsPerPeer = 1;
      return true;
    },
  }, echo);
  using first = await connectAs("192.0.2.1", listener);
  assert(await isServed(first));
  using second = await connect(listener); // it has to wait for its header
  await until(() => listener.stats.waiting === 1);
  await second.write(headerOf("192.0.2.1"));
  assert(!await isServed(second));
});

Deno.test("maxConnectionsPerPeer counts the connection whose callback sets it", async () => {
  await using listener = listen(LOCAL, (conn, listener) => {
    listener.maxConnectionsPerPeer = 1;
    return echo(conn);
  });
  using first = await connect(listener);
  assert(await isServed(first));
  using second = await connect(listener);
  assert(!await isServed(second));
});

Deno.test("maxConnectionsPerPeer does not count what accept() and for await take", async () => {
  await using listener = listen({ ...LOCAL, maxConnectionsPerPeer: 1 });
  const clients = await connectAll(listener, 4);
  const conns = [await listener.accept(), await listener.accept()];
  const loop = listener[Symbol.asyncIterator]();
  for (let i = 0; i < 2; i++) conns.push((await loop.next()).value!);
  assertEquals(
    conns.map((conn) => conn.remoteAddr.port),
    clients.map((client) => client.localAddr.port),
  );
  assertEquals(listener.stats.rejected, 0);
  closeAll([...conns, ...clients]);
});

Deno.test("maxConnectionsPerPeer does not count connections whose callback returns no promise", async () => {
  const conns: Deno.TcpConn[] = [];
  const keep: ConnectionCallback = (conn) => void conns.push(conn);
  const fail: ConnectionCallback = () => {
    throw new Error("a bug in a callback");
  };
  await using listener = listen({
    ...LOCAL,
    maxConnectionsPerPeer: 1,
    onConnectionError: () => {},
  }, keep);
  const clients = await connectAll(listener, 3);
  await until(() => conns.length === 3);
  listener.setCallback(fail);
  for (let i = 0; i < 2; i++) {
    using client = await connect(listener);
    assert(await isClosed(client));
  }
  assertEquals(listener.stats.connectionErrors, 2);
  assertEquals(listener.stats.rejected, 0);
  closeAll([...conns, ...clients]);
});

Deno.test("maxConnectionsPerPeer forgets a connection whose callback fails", async () => {
  await using listener = listen({
    ...LOCAL,
    maxConnectionsPerPeer: 1,
    onConnectionError: () => {},
  }, async (conn) => {
    await conn.read(new Uint8Array(1));
    throw new Error("a bug in a callback");
  });
  for (let i = 0; i < 3; i++) {
    using client = await connect(listener);
    await client.write(new Uint8Array(1));
    assert(await isClosed(client));
  }
  assertEquals(listener.stats.connectionErrors, 3);
});

Deno.test("maxConnectionsPerPeer must be a positive integer or Infinity", async () => {
  const message = "'maxConnectionsPerPeer' must be a positive integer or";
  await using listener = listen({ ...LOCAL, maxConnectionsPerPeer: 7 });
  for (const max of [0, -1, 1.5, NaN, -Infinity, "1", {}, true, 1n]) {
    const maxConnectionsPerPeer = max as number;
    const ErrorClass = typeof max === "number" ? RangeError : TypeError;
    assertThrows(
      () => listen({ ...LOCAL, maxConnectionsPerPeer }),
      ErrorClass,
      `Cannot listen as ${message}`,
    );
    assertThrows(
      () => listener.maxConnectionsPerPeer = maxConnectionsPerPeer,
      ErrorClass,
      `Cannot change the limit as ${message}`,
    );
  }
  assertEquals(listener.maxConnectionsPerPeer, 7);
});

Deno.test({
  name: "maxConnectionsPerPeer is a TypeError with a Unix socket",
  ignore: Deno.build.os === "windows",
  async fn() {
    await using dir = new TempDir();
    const bind = { transport: "unix", path: `${dir.path}/socket` } as const;
    assertThrows(
      () => listen({ ...bind, maxConnectionsPerPeer: 1 }),
      TypeError,
      "'maxConnectionsPerPeer' is not for Unix sockets",
    );
    assertEquals(dir.names, []); // no socket was made
    await using listener = listen({ ...bind, maxConnectionsPerPeer: Infinity });
    assertThrows(
      () => listener.maxConnectionsPerPeer = 1,
      TypeError,
      "'maxConnectionsPerPeer' is not for Unix sockets",
    );
  },
});

const at = (peer: number): Deno.NetAddr => ({
  transport: "tcp",
  hostname: `10.${peer >> 16}.${peer >> 8 & 255}.${peer & 255}`,
  port: 1,
});

Deno.test("Peers counts each peer up to the limit, whoever comes and goes", () => {
  const peers = new Peers();
  const next = random(30);
  const here: Peer[][] = Array.from({ length: 50 }, () => []);
  for (let step = 0; step < 20_000; step++) {
    const peer = next(50);
    const own = here[peer]!;
    if (next(2) === 0) own.splice(next(own.length), 1)[0]?.leave();
    else {
      const entered = peers.enter(at(peer), 3);
      assertEquals(entered !== undefined, own.length < 3);
      if (entered !== undefined) own.push(entered);
    }
    const count = here.filter(({ length }) => length > 0).length;
    assertEquals(peers.size, count);
  }
});

Deno.test("Peers counts a peer right that has left and comes back after others have been forgotten", () => {
  const peers = new Peers();
  const staying = peers.enter(at(1), 1)!;
  for (let peer = 2; peer < 100_000; peer++) {
    peers.enter(at(peer), 1)!.leave();
  }
  assertEquals([peers.size, peers.enter(at(1), 1)], [1, undefined]);
  staying.leave();
  const again = peers.enter(at(1), 1);
  assert(again !== undefined);
  assertEquals([peers.size, peers.enter(at(1), 1)], [1, undefined]);
  again.leave();
  assertEquals(peers.size, 0);
});

Deno.test("Peers is empty after thousands of peers have left", async () => {
  const COUNT = size(2000, 10_000);
  const peers = new Peers();
  let most = 0;
  await using listener = listen(
    { ...PROXIED, maxConnectionsPerPeer: 1 },
    async (conn) => {
      const peer = peers.enter(conn.remoteAddr, 1);
      assert(peer !== undefined);
      most = Math.max(most, peers.size);
      await echo(conn);
      peer.leave();
    },
  );
  let served = 0;
  const comeAndGo = async (from: number) => {
    for (let i = from; i < COUNT; i += 50) {
      using conn = await connectAs(`10.0.${i >> 8}.${i & 255}`, listener);
      if (await isServed(conn)) served++;
    }
  };
  await Promise.all(Array.from({ length: 50 }, (_, i) => comeAndGo(i)));
  await until(() => listener.stats.active === 0);
  assertEquals([served, peers.size], [COUNT, 0]);
  assert(most > 1);
});
