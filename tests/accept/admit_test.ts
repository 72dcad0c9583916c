/** admit: the program's own say about who gets in. */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  type ConnListener,
  LEV_OPT_DEFERRED_ACCEPT,
  listen,
  type ListenerOptions,
} from "@evconn/listener";
import {
  connect,
  connectAll,
  isClosed,
  turns,
  until,
} from "../helpers/clients.ts";
import { QuietConsole } from "../helpers/console.ts";
import { echo } from "../helpers/faults.ts";
import { connectAs, isServed } from "../helpers/peer_clients.ts";
import { TempDir } from "../helpers/temp_dir.ts";

const LOCAL = { hostname: "127.0.0.1", port: 0 };
const DEFERRED = { ...LOCAL, flags: LEV_OPT_DEFERRED_ACCEPT };
const PROXIED = { ...LOCAL, proxyProtocol: true };

/** The ways on which a client may come to be asked about. */
const WAYS: [name: string, options: typeof LOCAL & ListenerOptions][] = [
  ["", LOCAL],
  [", deferred", DEFERRED],
  [", with a PROXY header", PROXIED],
  [', with overflow: "reject"', { ...LOCAL, overflow: "reject" }],
];

/** Connects as whatever the options want: with a header or without. */
function enter(
  options: ListenerOptions,
  listener: ConnListener,
): Promise<Deno.TcpConn> {
  return options.proxyProtocol
    ? connectAs("192.0.2.1", listener)
    : connect(listener);
}

for (const [way, options] of WAYS) {
  Deno.test(`admit lets in with true only${way}`, async () => {
    let answer: unknown;
    const told: unknown[] = [];
    await using listener = listen({
      ...options,
      admit: () => answer as boolean,
      onConnectionError: (error) => told.push(error),
    }, echo);
    const others = [false, undefined, null, 0, 1, "true", {}, Object(true)];
    for (answer of [...others, Promise.resolve(true), true]) {
      using client = await enter(options, listener);
      assertEquals([answer, await isServed(client)], [answer, answer === true]);
    }
    assertEquals(listener.stats.rejected, others.length + 1);
    assertEquals(told, []);
  });

  Deno.test(`admit turns away when it throws, and onConnectionError is told${way}`, async () => {
    let thrown: unknown;
    const told: [unknown, Deno.TcpConn, ConnListener][] = [];
    await using listener = listen({
      ...options,
      admit: () => {
        throw thrown;
      },
      onConnectionError: (...args) => told.push(args),
    }, echo);
    const values = [new Error("a bug in admit"), undefined, "no"];
    for (thrown of values) {
      using client = await enter(options, listener);
      assert(await isClosed(client));
    }
    assertEquals(told.map(([error]) => error), values);
    assert(told.every(([, , told]) => told === listener));
    assertEquals(told.length, new Set(told.map(([, conn]) => conn)).size);
    const { rejected, connectionErrors, accepted } = listener.stats;
    assertEquals([rejected, connectionErrors, accepted], [3, 3, 3]);
  });

  Deno.test(`admit is asked once about each connection${way}`, async () => {
    const asked: [string, ConnListener][] = [];
    await using listener = listen({
      ...options,
      admit: ({ hostname }, listener) => {
        asked.push([hostname, listener]);
        return asked.length % 2 === 0;
      },
    }, echo);
    for (let i = 0; i < 6; i++) {
      using client = await enter(options, listener);
      assertEquals(await isServed(client), i % 2 === 1);
    }
    const hostname = options.proxyProtocol ? "192.0.2.1" : "127.0.0.1";
    assertEquals(asked.map(([hostname]) => hostname), Array(6).fill(hostname));
    assert(asked.every(([, asking]) => asking === listener));
  });
}

Deno.test("admit is asked with the address that the client has by itself", async () => {
  const asked: Deno.NetAddr[] = [];
  await using listener = listen({
    ...LOCAL,
    admit: (addr) => asked.push(addr) > 0,
  }, echo);
  using client = await connect(listener);
  assert(await isServed(client));
  assertEquals(asked.map(({ port }) => port), [client.localAddr.port]);
});

Deno.test("admit is asked before a deferred client has said anything", async () => {
  await using listener = listen({ ...DEFERRED, admit: () => false }, echo);
  using client = await connect(listener);
  assert(await isClosed(client)); // and not when its patience ends
  assertEquals(listener.stats.waiting, 0);
});

Deno.test("admit is asked once about a connection that is parked", async () => {
  let asked = 0;
  await using listener = listen({ ...LOCAL, admit: () => ++asked > 0 }, echo);
  await turns(); // an accept is in flight
  listener.pause();
  using client = await connect(listener);
  await until(() => listener.stats.parked === 1);
  listener.resume();
  assert(await isServed(client));
  assertEquals(asked, 1);
});

Deno.test({
  name: "admit gets a Unix address on a Unix socket",
  ignore: Deno.build.os === "windows",
  async fn() {
    await using dir = new TempDir();
    const bind = { transport: "unix", path: `${dir.path}/socket` } as const;
    const asked: Deno.UnixAddr[] = [];
    await using listener = listen({
      ...bind,
      admit: (addr) => asked.push(addr) > 1,
    }, echo);
    using first = await Deno.connect(bind);
    assertEquals(await first.read(new Uint8Array(1)), null);
    using second = await Deno.connect(bind);
    assert(await isServed(second));
    assertEquals(asked.map(({ transport }) => transport), ["unix", "unix"]);
    assertEquals(listener.stats.rejected, 1);
  },
});

Deno.test("admit keeps who is not let in away from accept() and for await", async () => {
  const outside = new Set<number>();
  await using listener = listen({
    ...LOCAL,
    admit: ({ port }) => !outside.has(port),
  });
  const clients = await connectAll(listener, 6);
  const ports = clients.map((client) => client.localAddr.port);
  for (const i of [0, 1, 3, 4]) outside.add(ports[i]!);
  {
    using conn = await listener.accept();
    assertEquals(conn.remoteAddr.port, ports[2]);
  }
  for await (const conn of listener) {
    assertEquals(conn.remoteAddr.port, ports[5]);
    conn.close();
    break;
  }
  assertEquals(listener.stats.rejected, 4);
  for (const client of clients) {
    assert(await isClosed(client));
    client.close();
  }
});

for (const [way, options] of WAYS) {
  Deno.test(`admit may close the listener${way}`, async () => {
    const listener = listen({
      ...options,
      admit: (_, listener) => {
        listener.close();
        return true;
      },
    });
    const accepted = listener.accept();
    using client = await enter(options, listener);
    await assertRejects(() => accepted, Deno.errors.BadResource);
    assert(await isClosed(client));
    await listener.finished;
  });

  Deno.test(`admit may pause the listener${way}`, async () => {
    await using listener = listen({
      ...options,
      admit: (_, listener) => {
        listener.pause();
        return true;
      },
    }, echo);
    using client = await enter(options, listener);
    const served = isServed(client);
    await until(() => listener.holds.includes("paused"));
    await turns();
    assertEquals(listener.stats.active, 0);
    listener.resume();
    assert(await served);
    assertEquals(listener.stats.accepted, 1);
  });
}

Deno.test("admit must be a function", () => {
  for (const admit of [true, "all", {}, 1]) {
    assertThrows(
      () => listen({ ...LOCAL, admit: admit as unknown as () => boolean }),
      TypeError,
      "Cannot listen as 'admit' must be a function",
    );
  }
});

Deno.test("admit that returns a promise turns away, and the listener outlives its rejection", async () => {
  using quiet = new QuietConsole();
  const admit = (() => Promise.reject(new Error("no"))) as never;
  await using listener = listen({ ...LOCAL, admit }, echo);
  using client = await connect(listener);
  assert(await isClosed(client));
  await until(() => quiet.errors.length === 1);
  assertEquals(listener.stats.rejected, 1);
});
