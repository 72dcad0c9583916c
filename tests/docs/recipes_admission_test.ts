/** Recipes for who gets in, each as a program would have it. */
import { assert, assertEquals } from "@std/assert";
import { listen, peerOf } from "@evconn/listener";
import { BlockList, isIPv6 } from "node:net";
import { isClosed, readAll, until } from "../helpers/clients.ts";
import { echo, writeAll } from "../helpers/faults.ts";
import { connectAs, isServed } from "../helpers/peer_clients.ts";
import { recipeExports } from "../helpers/recipes.ts";

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

Deno.test("recipes: a token bucket limits new connections of each client, and forgets clients", async () => {
  const bucket = await recipeExports(
    "New connections per client",
    "takeToken",
    "fullAt",
    "older",
  );
  let now = performance.now() + 1e6; // after the recipe's own clients
  await using listener = listen({
    ...PROXIED,
    admit: (addr) => bucket.takeToken(peerOf(addr), now),
  }, echo);
  const served = async (address: string) => {
    using client = await connectAs(address, listener);
    return await isServed(client);
  };
  // An IPv4 address is one client in both forms, and so is an IPv6 network.
  for (
    const [address, other] of [
      ["192.0.2.1", "::ffff:192.0.2.1"],
      ["2001:db8::1", "2001:db8::2:1"],
      ["2001:db8:0:1::1", "2001:db8:0:1:ffff::"],
    ] as const
  ) {
    for (let i = 0; i < 5; i++) assert(await served(i % 2 ? other : address));
    assert(!await served(address));
    assert(!await served(other));
  }
  now += 10_000; // one token has come back
  assert(await served("::ffff:192.0.2.1"));
  assert(!await served("192.0.2.1"));
  now += 45_000; // in the next window: four tokens and a half
  for (let i = 0; i < 4; i++) assert(await served("192.0.2.1"));
  assert(!await served("192.0.2.1"));
  now += 50_000;
  assert(await served("192.0.2.2"));
  assertEquals([...bucket.fullAt.keys()], ["192.0.2.2"]);
  assertEquals([...bucket.older.keys()], ["192.0.2.1"]);
});
