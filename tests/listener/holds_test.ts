/** Why nothing is accepted: pause(), maxConnections, backoff; and parking. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { ConnListener, listen } from "@evconn/listener";
import {
  connect,
  connectAll,
  isClosed,
  readAll,
  turns,
  until,
} from "../helpers/clients.ts";
import { missingAddress } from "../helpers/machine.ts";
import { runProgram } from "../helpers/program.ts";
import { osError, StandIn } from "../helpers/stand_in.ts";

const LOCAL = { hostname: "127.0.0.1", port: 0 };
const closeAll = (conns: Deno.Conn[]) => conns.forEach((conn) => conn.close());

/** A callback whose connections stay active until the test lets them go. */
function holding() {
  const going: (() => void)[] = [];
  const callback = (_conn: Deno.TcpConn) =>
    new Promise<void>((resolve) => {
      going.push(resolve);
    });
  return { callback, going };
}

Deno.test("pause() leaves clients in the queue, and resume() takes them in order", async () => {
  const ports: number[] = [];
  const done = Promise.withResolvers<void>();
  await using listener = listen(LOCAL, (conn) => {
    ports.push(conn.remoteAddr.port);
    conn.close();
    if (ports.length === 3) done.resolve();
  });
  await turns(); // an accept is in flight
  listener.pause();
  listener.pause();
  assertEquals([listener.state, listener.holds], ["paused", ["paused"]]);
  const clients = await connectAll(listener, 3);
  await until(() => listener.stats.parked === 1);
  await turns();
  assertEquals(ports, []);
  assertEquals(listener.stats.accepted, 1); // one is parked, two are the kernel's
  listener.resume();
  assertEquals([listener.state, listener.holds], ["listening", []]);
  assertEquals(ports, []); // never from inside resume()
  await done.promise;
  assertEquals(ports, clients.map((client) => client.localAddr.port));
  assertEquals([listener.stats.parked, listener.stats.accepted], [0, 3]);
  closeAll(clients);
});

Deno.test("pause() while a parked connection is about to be delivered keeps it parked", async () => {
  const calls: number[] = [];
  await using listener = listen(LOCAL, (conn) => {
    calls.push(conn.remoteAddr.port);
    conn.close();
  });
  await turns();
  listener.pause();
  using client = await connect(listener);
  await until(() => listener.stats.parked === 1);
  listener.resume();
  listener.pause();
  await turns();
  assertEquals([calls, listener.stats.parked], [[], 1]);
  listener.resume();
  await until(() => calls.length === 1);
  assertEquals(calls, [client.localAddr.port]);
  assertEquals(listener.stats.accepted, 1);
});

Deno.test("pause() makes accept() and for await wait", async () => {
  await using listener = listen(LOCAL);
  listener.pause();
  const accepted = listener.accept();
  using client = await connect(listener);
  await turns();
  assertEquals(listener.stats.accepted, 0);
  listener.resume();
  using conn = await accepted;
  assertEquals(conn.remoteAddr.port, client.localAddr.port);
});

Deno.test("maxConnections with queue delivers the next when one ends, in order", async () => {
  const { callback, going } = holding();
  const ports: number[] = [];
  await using listener = listen({ ...LOCAL, maxConnections: 2 }, (conn) => {
    ports.push(conn.remoteAddr.port);
    return callback(conn);
  });
  const clients = await connectAll(listener, 5);
  for (let ended = 0; ended < 5; ended++) {
    await until(() => going.length === Math.min(ended + 2, 5));
    await turns(2);
    assertEquals(listener.stats.active, Math.min(2, 5 - ended));
    assertEquals(listener.holds, ended < 4 ? ["full"] : []);
    going[ended]!();
    await until(() => listener.stats.active < 2 || going.length === ended + 3);
  }
  await until(() => listener.stats.active === 0);
  assertEquals(ports, clients.map((client) => client.localAddr.port));
  assertEquals(listener.holds, []);
  closeAll(clients);
});

Deno.test("maxConnections with reject closes those above the limit at once", async () => {
  const { callback, going } = holding();
  await using listener = listen(
    { ...LOCAL, maxConnections: 1, overflow: "reject" },
    callback,
  );
  const clients = await connectAll(listener, 3);
  assert(await isClosed(clients[1]!));
  assert(await isClosed(clients[2]!));
  assertEquals(listener.holds, []);
  assertEquals(listener.stats.rejected, 2);
  going[0]!();
  assert(await isClosed(clients[0]!));
  using next = await connect(listener);
  await until(() => going.length === 2);
  going[1]!();
  assert(await isClosed(next));
  assertEquals(listener.stats.accepted, 4);
  closeAll(clients);
});

Deno.test("maxConnections may be changed while the listener runs", async () => {
  const { callback, going } = holding();
  await using listener = listen({ ...LOCAL, maxConnections: 1 }, callback);
  const clients = await connectAll(listener, 4);
  await until(() => going.length === 1);
  listener.maxConnections = 3;
  await until(() => going.length === 3);
  assertEquals(listener.holds, ["full"]);
  listener.maxConnections = 1; // closes nothing
  going[0]!();
  going[1]!();
  await until(() => listener.stats.active === 1);
  await turns();
  assertEquals([going.length, listener.holds], [3, ["full"]]);
  listener.maxConnections = Infinity;
  await until(() => going.length === 4);
  assertEquals(listener.holds, []);
  going.forEach((go) => go());
  closeAll(clients);
});

Deno.test("maxConnections counts no connection that a callback keeps for itself", async () => {
  const conns: Deno.TcpConn[] = [];
  await using listener = listen({ ...LOCAL, maxConnections: 1 }, (conn) => {
    conns.push(conn);
  });
  const clients = await connectAll(listener, 3);
  await until(() => conns.length === 3);
  assertEquals([listener.stats.active, listener.holds], [0, []]);
  closeAll([...conns, ...clients]);
});

Deno.test("a connection that ends does not undo a pause()", async () => {
  const { callback, going } = holding();
  await using listener = listen({ ...LOCAL, maxConnections: 1 }, callback);
  const clients = await connectAll(listener, 2);
  await until(() => going.length === 1);
  listener.pause();
  assertEquals(listener.holds, ["full", "paused"]); // as they began
  going[0]!();
  await until(() => listener.stats.active === 0);
  await turns();
  assertEquals([going.length, listener.holds], [1, ["paused"]]);
  listener.resume();
  await until(() => going.length === 2);
  going[1]!();
  closeAll(clients);
});

Deno.test("a connection of the listener's own that ends also ends the backoff", async () => {
  const { callback, going } = holding();
  let exhausted = false;
  const socket = new StandIn((call) => {
    exhausted ||= call === 1;
    return exhausted ? osError("EMFILE") : undefined;
  });
  let errors = 0;
  await using listener = new ConnListener(socket, {
    onAcceptError: () => void errors++,
  }, callback);
  const clients = await connectAll(listener, 2);
  await until(() => errors === 8); // 5 ms, doubled seven times: the next try is far
  assertEquals(listener.holds, ["backoff"]);
  exhausted = false;
  going[0]!();
  assert(await isClosed(clients[0]!));
  assertEquals(listener.holds, []);
  await until(() => going.length === 2);
  assertEquals(errors, 8);
  going[1]!();
  closeAll(clients);
});

Deno.test("a paused listener does not keep the process alive", async () => {
  const program = (verb: string) => `
    const listener = evconn.listen({ hostname: "127.0.0.1", port: 0 }, () => {});
    setTimeout(() => { ${verb}; console.log("end of program") }, 5);`;
  for (
    const verb of [
      "listener.pause()",
      "listener.setCallback(null)",
      "listener.free()",
    ]
  ) {
    const { code, stdout } = await runProgram(program(verb));
    assertEquals([verb, code, stdout], [verb, 0, "end of program"]);
  }
});

for (
  const [verbs, isAlive] of [
    ["pause resume", true],
    ["unref ref", true],
    ["unref", false],
    ["unref pause resume", false],
    ["pause unref ref", false],
  ] as const
) {
  const calls = verbs.split(" ").map((verb) => `listener.${verb}();`).join(" ");
  const does = isAlive ? "keeps the process alive" : "lets the process end";
  Deno.test(`a listener that accepts ${does} after ${calls}`, async () => {
    const { stdout } = await runProgram(`
      const where = { hostname: "127.0.0.1", port: 0 };
      const listener = evconn.listen(where, (conn) => {
        conn.close();
        console.log("served");
        Deno.exit();
      });
      addEventListener("beforeunload", () => console.log("end of program"));
      setTimeout(() => { // an accept is in flight
        ${calls}
        const come = () => Deno.connect({ port: listener.addr.port });
        // Only the listener can keep the process alive until the client comes.
        Deno.unrefTimer(setTimeout(come, ${isAlive ? 50 : 30_000}));
      }, 5);`);
    assertEquals(stdout, isAlive ? "served" : "end of program");
  });
}

Deno.test("console.log() of a listener is one helpful line", async () => {
  await using listener = listen(LOCAL, async (conn) => {
    await conn.write(new TextEncoder().encode("hello"));
  });
  assertEquals(await readAll(await connect(listener)), "hello");
  listener.pause();
  const { port } = listener.addr;
  assertEquals(
    Deno.inspect(listener),
    `ConnListener { addr: "127.0.0.1:${port}", state: "paused", holds: [ "paused" ], ` +
      "accepted: 1, active: 0, parked: 0, waiting: 0, rejected: 0, aborted: 0, " +
      "timedOut: 0, acceptErrors: 0, connectionErrors: 0 }",
  );
});

Deno.test("console.log() of a listener puts an IPv6 address into brackets", {
  ignore: missingAddress("::1"),
}, async () => {
  await using listener = listen({ hostname: "::1", port: 0 });
  assertStringIncludes(
    Deno.inspect(listener),
    `"[::1]:${listener.addr.port}"`,
  );
});
