/** Recipes for who gets in, each as a program would have it. */
import { assert, assertEquals } from "@std/assert";
import { listen } from "@evconn/listener";
import { BlockList, isIPv6 } from "node:net";
import { isClosed, readAll, until } from "../helpers/clients.ts";
import { echo, writeAll } from "../helpers/faults.ts";
import { connectAs, isServed } from "../helpers/peer_clients.ts";

const PROXIED = { hostname: "127.0.0.1", port: 0, proxyProtocol: true };
const closeAll = (conns: Deno.Conn[]) => conns.forEach((conn) => conn.close());

/** Whether a list has an address. */
function has(list: BlockList, { hostname }: Deno.NetAddr): boolean {
  return list.check(hostname, isIPv6(hostname) ? "ipv6" : "ipv4");
}

const ADDRESSES = ["192.0.2.7", "198.51.100.1", "::ffff:192.0.2.7"];
const NETWORKS = new BlockList();
NETWORKS.addSubnet("192.0.2.0", 24);
NETWORKS.addSubnet("2001:db8::", 32, "ipv6");

Deno.test("admit with a BlockList is a deny list of ranges", async () => {
  await using listener = listen({
    ...PROXIED,
    admit: (addr) => !has(NETWORKS, addr),
  }, echo);
  for (const address of [...ADDRESSES, "2001:db8::1", "2001:db9::1"]) {
    using client = await connectAs(address, listener);
    const isFree = ["198.51.100.1", "2001:db9::1"].includes(address);
    assertEquals([address, await isServed(client)], [address, isFree]);
  }
});

Deno.test("admit with a BlockList is an allow list of ranges", async () => {
  await using listener = listen({
    ...PROXIED,
    admit: (addr) => has(NETWORKS, addr),
  }, echo);
  for (const address of [...ADDRESSES, "2001:db8::1", "2001:db9::1"]) {
    using client = await connectAs(address, listener);
    const isOurs = !["198.51.100.1", "2001:db9::1"].includes(address);
    assertEquals([address, await isServed(client)], [address, isOurs]);
  }
});

Deno.test("admit that counts connections has a limit per peer and exempts own networks", async () => {
  const MAX = 50;
  await using listener = listen({
    ...PROXIED,
    admit: (addr, { connections }) => {
      if (has(NETWORKS, addr)) return true; // maxConnectionsPerPeer knows no exemption
      let count = 0;
      for (const { remoteAddr } of connections) {
        if (remoteAddr.hostname === addr.hostname) count++;
      }
      return count < MAX;
    },
  }, echo);
  for (const [address, served] of [["198.51.100.1", MAX], ["192.0.2.1", 60]]) {
    const clients: Deno.TcpConn[] = [];
    let count = 0;
    for (let i = 0; i < 60; i++) {
      const client = await connectAs(address as string, listener);
      clients.push(client);
      if (await isServed(client)) count++;
    }
    assertEquals([address, count], [address, served]);
    closeAll(clients);
    await until(() => listener.stats.active === 0);
  }
});

Deno.test("connections and a WeakMap send away all connections of one user", async () => {
  const users = new WeakMap<Deno.Conn, string>();
  await using listener = listen(PROXIED, async (conn) => {
    const name = new Uint8Array(1);
    await conn.read(name);
    users.set(conn, new TextDecoder().decode(name));
    await echo(conn);
  });
  const clients: Deno.TcpConn[] = [];
  for (const user of ["a", "b", "a", "c", "a"]) {
    const client = await connectAs("192.0.2.1", listener);
    await writeAll(client, new TextEncoder().encode(user));
    assert(await isServed(client));
    clients.push(client);
  }
  for (const conn of listener.connections) {
    if (users.get(conn) === "a") conn.close();
  }
  for (const [i, client] of clients.entries()) {
    if (i % 2 === 0) assert(await isClosed(client));
    else assert(await isServed(client));
  }
  assertEquals(listener.stats.connectionErrors, 0);
  closeAll(clients);
});

Deno.test("onReject refuses with 421 as mail servers do", async () => {
  const texts = {
    "full": "4.3.2 Too busy",
    "peer": "4.7.0 Too many connections from your address",
    "not-admitted": "4.7.1 Not from your address",
    "proxy-header": "4.3.5 Not configured",
  };
  await using listener = listen({
    ...PROXIED,
    maxConnectionsPerPeer: 1,
    onReject: (conn, reason) =>
      conn.write(new TextEncoder().encode(`421 ${texts[reason]}\r\n`)),
  }, echo);
  using client = await connectAs("192.0.2.1", listener);
  assert(await isServed(client));
  assertEquals(
    await readAll(await connectAs("192.0.2.1", listener)),
    "421 4.7.0 Too many connections from your address\r\n",
  );
});

/** A token bucket per peer: so many at once, and so many a second in the long run. */
class RateLimit {
  readonly #buckets = new Map<string, { tokens: number; since: number }>();

  constructor(readonly burst: number, readonly perSecond: number) {}

  take(peer: string, now = performance.now()): boolean {
    // A bucket that is full again is as good as none. The oldest are first.
    for (const [peer, { tokens, since }] of this.#buckets) {
      if (this.#filled(tokens, since, now) < this.burst) break;
      this.#buckets.delete(peer);
    }
    const { tokens, since } = this.#buckets.get(peer) ??
      { tokens: this.burst, since: now };
    const left = this.#filled(tokens, since, now);
    if (left < 1) return false;
    this.#buckets.delete(peer); // to the end: it is the latest
    this.#buckets.set(peer, { tokens: left - 1, since: now });
    return true;
  }

  #filled(tokens: number, since: number, now: number): number {
    return Math.min(
      this.burst,
      tokens + (now - since) / 1000 * this.perSecond,
    );
  }

  get size(): number {
    return this.#buckets.size;
  }
}

Deno.test("admit with a token bucket limits the rate of each peer, and forgets peers", async () => {
  let now = 0; // performance.now() in a program
  const rate = new RateLimit(3, 1);
  await using listener = listen({
    ...PROXIED,
    admit: ({ hostname }) => rate.take(hostname, now),
  }, echo);
  const served = async (address: string) => {
    using client = await connectAs(address, listener);
    return await isServed(client);
  };
  for (const address of ["192.0.2.1", "192.0.2.2"]) {
    for (let i = 0; i < 5; i++) assertEquals(await served(address), i < 3);
  }
  now = 1000; // a token has come back
  assert(await served("192.0.2.1"));
  assert(!await served("192.0.2.1"));
  assertEquals(rate.size, 2);
  now = 60_000;
  assert(await served("192.0.2.3"));
  assertEquals(rate.size, 1);
});
