/** A connection on its way, at each microtask: what real sockets cannot be made to hit. */
import "../helpers/virtual_time.ts"; // first
import { assert, assertEquals } from "@std/assert";
import {
  ConnListener,
  type ListenerOptions,
  type ListenerStats,
} from "@evconn/listener";
import { bytes } from "../helpers/proxy_headers.ts";
import { ScriptedConn, ScriptedSocket } from "../helpers/scripted.ts";
import { pass, timerCount, turn } from "../helpers/virtual_time.ts";

type Socket = Deno.Listener<Deno.TcpConn, Deno.NetAddr>;

const HEADER = bytes("PROXY TCP4 192.0.2.1 192.0.2.2 50000 443\r\n");
const MOMENTS = 25; // more than anything takes

/** What becomes of a connection beside "delivered". */
function sum(stats: ListenerStats): number {
  const { active, waiting, parked, rejected, aborted } = stats;
  return active + waiting + parked + rejected + aborted;
}

const ENDS: Record<string, (listener: ConnListener) => Socket | undefined> = {
  close: (listener) => void listener.close(),
  detach: (listener) => listener.detach(),
};

const OPTIONS: Record<string, ListenerOptions> = {
  "no option": {},
  "a header": { proxyProtocol: true, maxConnectionsPerPeer: 1 },
  "a header, admit and idleTimeout": {
    proxyProtocol: true,
    admit: () => true,
    idleTimeout: 1000,
  },
};

for (const [end, ends] of Object.entries(ENDS)) {
  for (const [name, options] of Object.entries(OPTIONS)) {
    for (const isHandled of [true, false]) {
      const by = isHandled ? "a callback" : "accept()";
      Deno.test(`${end}() at any moment of a delivery to ${by} with ${name} keeps the counts right`, async () => {
        for (let moment = 0; moment < MOMENTS; moment++) {
          const socket = new ScriptedSocket();
          let given = 0;
          const listener = new ConnListener(
            socket,
            options,
            isHandled ? () => void given++ : null,
          );
          if (!isHandled) listener.accept().then(() => given++, () => {});
          const conn = new ScriptedConn(1);
          socket.bring(conn);
          await turn();
          if (options.proxyProtocol) conn.say(HEADER);
          let accepted = 0;
          const look = () => {
            const { stats } = listener;
            assert(stats.accepted >= accepted, "accepted goes down");
            accepted = stats.accepted;
            assert(stats.accepted >= given + sum(stats));
          };
          for (let i = 0; i < moment; i++) {
            await null;
            look();
          }
          const detached = ends(listener);
          look();
          await turn();
          look();
          const isGivenOn = detached !== undefined && given === 0;
          const { stats } = listener;
          assertEquals(
            stats.accepted,
            given + sum(stats) + (isGivenOn ? stats.accepted : 0),
          );
          assertEquals(conn.isOpen, given === 1 || isGivenOn);
          if (isGivenOn) assertEquals(await detached.accept(), conn);
          detached?.close();
          conn[Symbol.dispose]();
          await turn();
        }
        await pass(2000);
        assertEquals(timerCount(), 0);
      });
    }
  }
}

Deno.test("idleTimeout of a former owner is not on a connection that it has not delivered, at any moment", async () => {
  for (const owner of ["accept()", "a listener"]) {
    for (let moment = 0; moment < MOMENTS; moment++) {
      const socket = new ScriptedSocket();
      const first = new ConnListener(socket, { idleTimeout: 1000 });
      let given: Deno.Conn | undefined;
      first.accept().then((conn) => given = conn, () => {});
      const conn = new ScriptedConn(1);
      socket.bring(conn);
      for (let i = 0; i < moment; i++) await null;
      const detached = first.detach();
      await turn();
      if (given === undefined) {
        const next = owner === "accept()"
          ? detached
          : new ConnListener(detached);
        const taken = await next.accept();
        const read = taken.read(new Uint8Array(1));
        await pass(5000);
        assert(conn.isOpen);
        conn.say([1]);
        assertEquals(await read, 1);
        next.close();
      } else {
        const read = given.read(new Uint8Array(1)).catch(({ name }) => name);
        await pass(5000);
        assertEquals(await read, "TimedOut");
        if (detached !== socket) detached.close();
        else socket.close();
      }
      conn[Symbol.dispose]();
      await turn();
      assertEquals(timerCount(), 0);
    }
  }
});

Deno.test("idleTimeout begins with the delivery, however long a connection is kept before", async () => {
  const socket = new ScriptedSocket();
  const listener = new ConnListener(socket, {
    idleTimeout: 1000,
    proxyProtocol: true,
  });
  const accepted = listener.accept();
  const conn = new ScriptedConn(1);
  socket.bring(conn);
  await pass(5000); // it waits for its header
  listener.pause();
  conn.say(HEADER);
  await pass(5000); // it is parked
  assertEquals(listener.stats.parked, 1);
  listener.resume();
  const read = (await accepted).read(new Uint8Array(1))
    .catch(({ name }) => name);
  await pass(900);
  assert(conn.isOpen);
  await pass(600);
  assertEquals([await read, listener.stats.timedOut], ["TimedOut", 1]);
  await listener.close();
});

Deno.test("a closed connection is forgotten at once, and the timer goes with the last wait", async () => {
  const socket = new ScriptedSocket();
  const listener = new ConnListener(socket, { idleTimeout: 1000 });
  const conns: Deno.Conn[] = [];
  for (let i = 0; i < 3; i++) {
    const accepted = listener.accept();
    socket.bring(new ScriptedConn(i));
    conns.push(await accepted);
  }
  const reads = conns.map((conn) =>
    conn.read(new Uint8Array(1)).catch(() => {})
  );
  await listener.close();
  assertEquals(timerCount(), 1);
  conns[0]!.close();
  conns[1]![Symbol.dispose]();
  assertEquals(timerCount(), 1);
  conns[2]!.close();
  assertEquals(timerCount(), 0); // not at its next tick
  await Promise.all(reads);
  assertEquals(listener.stats.timedOut, 0);
});

/** Counts the calls of what changes a Map or a Set, until the end of the scope. */
class Touches implements Disposable {
  count = 0;
  readonly #undo: (() => void)[] = [];

  constructor() {
    const prototypes = [Map, Set, WeakMap, WeakSet].map((C) => C.prototype);
    for (const prototype of prototypes) {
      for (const name of ["set", "add", "delete"]) {
        const own = Reflect.get(prototype, name);
        if (own === undefined) continue;
        const counted = (target: unknown, ...args: unknown[]) => {
          this.count++;
          return Reflect.apply(own, target, args);
        };
        Reflect.set(prototype, name, function (this: unknown, ...args: []) {
          return counted(this, ...args);
        });
        this.#undo.push(() => Reflect.set(prototype, name, own));
      }
    }
  }

  [Symbol.dispose](): void {
    for (const undo of this.#undo) undo();
  }
}

Deno.test("no Map or Set is touched by the messages of a connection with idleTimeout", async () => {
  const socket = new ScriptedSocket();
  const listener = new ConnListener(socket, { idleTimeout: 60_000 });
  const accepted = listener.accept();
  const conn = new ScriptedConn(1);
  socket.bring(conn);
  using taken = await accepted;
  const buffer = new Uint8Array(8);
  const exchange = async () => {
    const read = taken.read(buffer);
    conn.say([1]);
    await read;
    await taken.write(buffer);
  };
  await exchange(); // the first begins a timer
  {
    using touches = new Touches();
    for (let i = 0; i < 100; i++) await exchange();
    assertEquals(touches.count, 0);
  }
  await listener.close();
});

Deno.test("no Map or Set is touched by a peer's connections that come and go", async () => {
  const socket = new ScriptedSocket();
  const options = {
    maxConnectionsPerPeer: 3,
    maxConnections: 10,
    proxyProtocol: true,
    idleTimeout: 60_000,
  };
  const listener = new ConnListener(socket, options, async (conn) => {
    await conn.read(new Uint8Array(1));
  });
  const serve = async (port: number) => {
    const conn = new ScriptedConn(port);
    socket.bring(conn);
    conn.say([...HEADER, 1]);
    await turn();
    assertEquals([conn.isOpen, listener.stats.active], [false, 0]);
  };
  await serve(1); // the first
  {
    using touches = new Touches();
    for (let port = 2; port < 100; port++) await serve(port);
    assertEquals(touches.count, 0);
  }
  await listener.close();
});
