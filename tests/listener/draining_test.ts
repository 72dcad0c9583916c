/** What shutdown() delivers, and to whom; and how a drain ends. */
import { assert, assertEquals } from "@std/assert";
import {
  ConnListener,
  LEV_OPT_DISABLED,
  listen,
  type ShutdownResult,
} from "@evconn/listener";
import {
  connect,
  connectAll,
  isClosed,
  readAll,
  turns,
  until,
  wasInQueue,
} from "../helpers/clients.ts";
import { CROWD } from "../helpers/crowd.ts";
import { ask, echo, Program } from "../helpers/faults.ts";
import { hasEnd } from "../helpers/has_end.ts";
import { fewDescriptors, shortQueue } from "../helpers/machine.ts";
import { osError, StandIn } from "../helpers/stand_in.ts";
import { TempDir } from "../helpers/temp_dir.ts";

const LOCAL = { hostname: "127.0.0.1", port: 0 };
const NONE: ShutdownResult = { completed: 0, aborted: 0 };
const closeAll = (conns: Deno.Conn[]) => conns.forEach((conn) => conn.close());
const say = (text: string) => async (conn: Deno.Conn) => {
  await conn.write(new TextEncoder().encode(text));
};
const hello = say("hello");

/** A listener on which accepts fail as long as a test says so. */
class Starving extends StandIn {
  isStarving = true;
  failures = 0;

  constructor() {
    super(() => this.isStarving ? osError("EMFILE") : undefined);
  }

  readonly onAcceptError = () => {
    this.failures++;
  };

  /** 5 ms, doubled seven times: the next try is far. */
  async waitsLong(): Promise<void> {
    await until(() => this.failures >= 8);
  }
}

/**
 * A socket whose accept in flight is late: what it has brought is known only when
 * the socket is closed.
 *
 * @param whenClosed What happens just before that.
 */
function lateSocket(whenClosed: () => void): Deno.TcpListener {
  const socket = Deno.listen(LOCAL);
  const closing = Promise.withResolvers<void>();
  const accept = socket.accept.bind(socket);
  const close = socket.close.bind(socket);
  socket.accept = async () => {
    const conn = await accept();
    await closing.promise;
    return conn;
  };
  socket.close = () => {
    close();
    whenClosed();
    closing.resolve();
  };
  return socket;
}

Deno.test({
  name: "shutdown() delivers all that wait on a Unix socket",
  // What Deno asks for, and both ends of each connection.
  ignore: Deno.build.os === "windows" || shortQueue(1024) ||
    fewDescriptors(2200),
  async fn() {
    await using dir = new TempDir();
    const where = { transport: "unix", path: `${dir.path}/a.sock` } as const;
    const listener = listen({ ...where, flags: LEV_OPT_DISABLED }, hello);
    const clients: Deno.UnixConn[] = [];
    while (clients.length < 1020) clients.push(await Deno.connect(where));
    listener.resume();
    assertEquals(await listener.shutdown(), { completed: 1020, aborted: 0 });
    const answers = await Promise.all(clients.map(readAll));
    assertEquals(answers, Array(1020).fill("hello"));
  },
});

Deno.test("shutdown() delivers all that wait, whatever the callback returns", {
  ignore: shortQueue(300),
}, async () => {
  const listener = listen({ ...LOCAL, flags: LEV_OPT_DISABLED }, (conn) => {
    hello(conn).then(() => conn.close());
  });
  const clients = await connectAll(listener, 300);
  listener.resume();
  assertEquals(await listener.shutdown(), NONE);
  const answers = await Promise.all(clients.map(readAll));
  assertEquals(answers, Array(300).fill("hello"));
});

Deno.test("shutdown() in a backoff tries again at once", async () => {
  const socket = new Starving();
  const listener = new ConnListener(socket, socket, hello);
  const clients = await connectAll(socket, 5);
  await socket.waitsLong();
  socket.isStarving = false;
  assertEquals(await listener.shutdown(), { completed: 5, aborted: 0 });
  assertEquals(socket.failures, 8);
  for (const client of clients) assertEquals(await readAll(client), "hello");
});

Deno.test({
  name: "shutdown() delivers who waits when a process has descriptors again",
  ignore: Deno.build.os !== "linux",
  async fn() {
    await using server = Program.deno([CROWD, "starve"], 128);
    const port = Number(await server.lineAfter("port "));
    const asked = await Promise.all(
      Array.from({ length: 5 }, () => ask({ port }, "hello").catch(String)),
    );
    const completed = await server.lineAfter("completed ").catch(String);
    const expected = [Array(5).fill("hello"), "5"];
    assertEquals([asked, completed], expected, server.stderr);
  },
});

Deno.test("shutdown() keeps trying for a while when there are no descriptors", async () => {
  const socket = new Starving();
  const listener = new ConnListener(socket, socket, hello);
  const clients = await connectAll(socket, 3);
  await socket.waitsLong();
  const result = listener.shutdown();
  await until(() => socket.failures >= 10); // it has tried twice, and waits 10 ms
  socket.isStarving = false;
  assertEquals(await result, { completed: 3, aborted: 0 });
  for (const client of clients) assertEquals(await readAll(client), "hello");
});

Deno.test("shutdown() gives up when there are no descriptors and nothing is active", async () => {
  const socket = new Starving();
  const listener = new ConnListener(socket, socket, hello);
  using client = await connect(socket);
  await socket.waitsLong();
  assertEquals(await listener.shutdown(), NONE);
  assert(await isClosed(client));
});

Deno.test("shutdown() does not give up while a connection is active", async () => {
  const socket = new Starving();
  socket.isStarving = false;
  const listener = new ConnListener(socket, socket, echo);
  const clients = await connectAll(socket, 1);
  await until(() => listener.stats.active === 1);
  socket.isStarving = true;
  // The accept in flight was called before: it takes one more.
  clients.push(...await connectAll(socket, 3));
  await until(() => socket.failures >= 1);
  const result = listener.shutdown();
  await until(() => socket.failures >= 11); // 5 ms, doubled eight times: 2.5 s
  assertEquals(listener.state, "draining");
  socket.isStarving = false;
  for (const client of clients) await client.closeWrite();
  for (const client of clients) assert(await isClosed(client));
  assertEquals(await result, { completed: 4, aborted: 0 });
  closeAll(clients);
});

Deno.test("shutdown() under steady load ends, and all that were accepted are answered", async () => {
  const listener = listen(LOCAL, echo);
  const load = [CROWD, "load", `${listener.addr.port}`, "32"];
  await using clients = Program.deno(load);
  await clients.lineAfter("loaded");
  const { aborted } = await listener.shutdown();
  const answered = Number(await clients.lineAfter("answered "));
  assertEquals([answered, aborted], [listener.stats.accepted, 0]);
});

Deno.test("shutdown() delivers a connection that comes as the socket closes", async () => {
  const socket = lateSocket(() => {});
  const listener = new ConnListener(socket, {}, hello);
  const client = await connect(socket);
  assertEquals(await listener.shutdown(), { completed: 1, aborted: 0 });
  assertEquals(await readAll(client), "hello");
});

Deno.test("shutdown() delivers a connection that comes as the socket closes to the callback of that moment", async () => {
  const socket = lateSocket(() => listener.setCallback(say("new")));
  const listener = new ConnListener(socket, {}, say("old"));
  const client = await connect(socket);
  assertEquals(await listener.shutdown(), { completed: 1, aborted: 0 });
  assertEquals(await readAll(client), "new");
});

/** What forbids that anything is delivered, also during a shutdown. */
const FORBIDDING: Record<string, (listener: ConnListener) => void> = {
  "close()": (listener) => void listener.close(),
  "pause()": (listener) => listener.pause(),
  "setCallback(null)": (listener) => listener.setCallback(null),
};

for (const [verb, forbid] of Object.entries(FORBIDDING)) {
  Deno.test(`${verb} as shutdown() closes the socket keeps the last connection from being delivered`, async () => {
    let delivered = 0;
    const socket = lateSocket(() => forbid(listener));
    const listener = new ConnListener(socket, {}, () => void delivered++);
    using client = await connect(socket);
    assertEquals(await listener.shutdown(), NONE);
    assertEquals(delivered, 0);
    await hasEnd(client);
  });

  Deno.test(`${verb} in a callback during shutdown() stops the drain`, async () => {
    let delivered = 0;
    const options = { ...LOCAL, flags: LEV_OPT_DISABLED };
    const listener = listen(options, async (conn) => {
      if (++delivered === 3) forbid(listener);
      await hello(conn);
    });
    const clients = await connectAll(listener, 10);
    listener.resume();
    assertEquals(await listener.shutdown(), { completed: 3, aborted: 0 });
    assertEquals(delivered, 3);
    const [answered, left] = [clients.slice(0, 3), clients.slice(3)];
    for (const client of answered) {
      assertEquals(await readAll(client), "hello");
    }
    for (const client of left) assert(await isClosed(client));
    closeAll(left);
  });

  Deno.test(`${verb} at any moment of shutdown() leaves no client without an end`, async () => {
    for (let turn = 0; turn < 50; turn++) {
      let isForbidden = false;
      const listener = listen(LOCAL, async (conn) => {
        assertEquals(isForbidden, false);
        await hello(conn);
      });
      const clients = Array.from({ length: 3 }, () => comeAndGo(listener));
      const result = listener.shutdown();
      await immediates(turn);
      forbid(listener);
      isForbidden = true;
      await Promise.all([result, ...clients]);
      assertEquals(listener.stats.connectionErrors, 0);
    }
  });
}

/** A client that is served, closed or refused. */
async function comeAndGo(listener: ConnListener): Promise<void> {
  try {
    await hasEnd(await connect(listener));
  } catch (error) {
    const isRefused = error instanceof Deno.errors.ConnectionRefused;
    if (!isRefused && !wasInQueue(error)) throw error;
  }
}

/** Lets the event loop turn so often, and no more. */
async function immediates(count: number): Promise<void> {
  for (; count > 0; count--) {
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
}

Deno.test("pause() during shutdown() ends the wait for a place", async () => {
  const listener = listen({ ...LOCAL, maxConnections: 1 }, echo);
  const clients = await connectAll(listener, 3);
  await until(() => listener.stats.active === 1);
  const result = listener.shutdown();
  await turns();
  assertEquals(listener.holds, ["full"]);
  listener.pause();
  for (const client of clients.slice(1)) assert(await isClosed(client));
  assertEquals([listener.state, listener.stats.active], ["draining", 1]);
  await clients[0]!.closeWrite();
  assertEquals(await result, { completed: 1, aborted: 0 });
  closeAll(clients);
});

Deno.test("shutdown() again gives the result of the first, during it and after it", async () => {
  const listener = listen(LOCAL, echo);
  const clients = await connectAll(listener, 3);
  await until(() => listener.stats.active === 3);
  const first = listener.shutdown();
  await clients[0]!.closeWrite();
  assert(await isClosed(clients[0]!));
  const second = listener.shutdown();
  await clients[1]!.closeWrite();
  assert(await isClosed(clients[1]!));
  const hurried = listener.shutdown({ timeout: 0 });
  const expected = { completed: 2, aborted: 1 };
  assertEquals(await Promise.all([first, second, hurried]), [
    expected,
    expected,
    expected,
  ]);
  assertEquals(await listener.shutdown(), expected);
  assert(await isClosed(clients[2]!));
  closeAll(clients);
});

Deno.test("shutdown() again with a longer timeout does not put the first one off", async () => {
  const listener = listen(LOCAL, echo);
  using client = await connect(listener);
  await until(() => listener.stats.active === 1);
  const first = listener.shutdown({ timeout: 20 });
  const second = listener.shutdown({ timeout: 2 ** 31 - 1 });
  const expected = { completed: 0, aborted: 1 };
  assertEquals(await Promise.all([first, second]), [expected, expected]);
  assert(await isClosed(client));
});

Deno.test("shutdown() in onAcceptError joins the first each time", async () => {
  const socket = new StandIn((call) =>
    call < 2 ? undefined : osError("EMFILE")
  );
  const results: Promise<ShutdownResult>[] = [];
  const listener = new ConnListener(socket, {
    onAcceptError: (_error, listener) => {
      results.push(listener.shutdown());
    },
  }, echo);
  const clients = await connectAll(socket, 2);
  for (const [i, client] of clients.entries()) {
    await until(() => results.length > i * 2);
    await client.closeWrite();
    assert(await isClosed(client));
  }
  await listener.finished;
  const expected = { completed: 2, aborted: 0 };
  assertEquals(
    await Promise.all(results),
    Array(results.length).fill(expected),
  );
  closeAll(clients);
});

Deno.test("shutdown({ timeout }) leaves no timer behind when it is not needed", async () => {
  const timeout = 2 ** 31 - 1;
  const listener = listen(LOCAL, hello);
  const client = await connect(listener);
  const results = [
    listener.shutdown({ timeout }),
    listener.shutdown({ timeout: timeout - 1 }),
  ];
  const expected = { completed: 1, aborted: 0 };
  assertEquals(await Promise.all(results), [expected, expected]);
  await listener.finished;
  assertEquals(await listener.shutdown({ timeout: 1000 }), expected);
  assertEquals(await readAll(client), "hello");
});

Deno.test("close() during shutdown({ timeout }) leaves no timer behind", async () => {
  const socket = new Starving();
  const listener = new ConnListener(socket, socket, hello);
  await socket.waitsLong();
  const result = listener.shutdown({ timeout: 2 ** 31 - 1 });
  await until(() => socket.failures >= 9);
  await listener.close();
  assertEquals(await result, NONE);
});
