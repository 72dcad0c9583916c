/** How a listener ends: close(), shutdown(), detach(), free(), using, a signal. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { freePort } from "../helpers/free_port.ts";
import {
  ConnListener,
  LEV_OPT_CLOSE_ON_FREE,
  LEV_OPT_DISABLED,
  listen,
  type ShutdownResult,
} from "@evconn/listener";
import {
  connect,
  connectAll,
  connectAndReset,
  isClosed,
  readAll,
  turns,
  until,
  wasInQueue,
} from "../helpers/clients.ts";
import { fewDescriptors, shortQueue } from "../helpers/machine.ts";
import { runProgram } from "../helpers/program.ts";
import { osError, StandIn } from "../helpers/stand_in.ts";
import { NODE_CLIENTS_RESET } from "../helpers/this_deno.ts";

const LOCAL = { hostname: "127.0.0.1", port: 0 };
const closeAll = (conns: Deno.Conn[]) => conns.forEach((conn) => conn.close());
const hello = async (conn: Deno.TcpConn) => {
  await conn.write(new TextEncoder().encode("hello"));
};
/** A handler that ends when its client does. */
const untilEnd = async (conn: Deno.TcpConn) => {
  const buffer = new Uint8Array(1);
  while (await conn.read(buffer) !== null);
};

Deno.test("close() resolves when the port can be bound again, 30 times in a row", async () => {
  const port = freePort();
  for (let i = 0; i < 30; i++) {
    const listener = listen({ ...LOCAL, port }, () => {});
    await listener.close();
  }
  for (let i = 0; i < 30; i++) {
    const listener = listen({ ...LOCAL, port });
    const rejected = assertRejects(
      () => listener.accept(),
      Deno.errors.BadResource,
    );
    await turns(1); // the accept is in flight
    await listener.close();
    await rejected;
  }
});

Deno.test("close() closes the parked connection and leaves active ones alone", async () => {
  await using listener = listen(LOCAL, async (conn) => {
    await untilEnd(conn);
  });
  using active = await connect(listener);
  await until(() => listener.stats.active === 1);
  listener.pause();
  using parked = await connect(listener);
  await until(() => listener.stats.parked === 1);
  await listener.close();
  assert(await isClosed(parked));
  assertEquals(listener.stats.parked, 0);
  assertEquals(listener.stats.active, 1);
  await active.write(new Uint8Array(1));
  active.closeWrite();
  assert(await isClosed(active));
});

Deno.test("close() is idempotent, and everything after it is a quiet no-op", async () => {
  const listener = listen(LOCAL, () => assert(false, "nothing is delivered"));
  const closed = listener.close();
  assertEquals(listener.close(), closed);
  assertEquals([listener.state, listener.holds], ["closed", []]);
  assert(listener.signal.aborted);
  await closed;
  listener.pause();
  listener.resume();
  listener.setCallback(() => {});
  listener.setErrorCallback(() => {});
  listener.maxConnections = 5;
  listener.ref();
  listener.unref();
  listener.free();
  listener[Symbol.dispose]();
  assertEquals(listener.detach(), listener.socket);
  assertEquals(await listener.shutdown(), { completed: 0, aborted: 0 });
  await assertRejects(() => listener.accept(), Deno.errors.BadResource);
  for await (const _ of listener) assert(false, "nothing is iterated");
  assertEquals([listener.state, listener.holds], ["closed", []]);
  await listener.finished;
  assertEquals(listener.stats.connectionErrors, 0); // the callback was not called
});

Deno.test("close() during a backoff ends at once", async () => {
  const socket = new StandIn(() => osError("EMFILE"));
  const told = Promise.withResolvers<void>();
  let failures = 0;
  const listener = new ConnListener(socket, {
    onAcceptError: () => {
      // 5 ms, doubled five times: a timer that stays is a leak.
      if (++failures === 6) told.resolve();
    },
  }, () => {});
  await told.promise;
  await listener.close();
  assertEquals([socket.calls, listener.holds], [6, []]);
});

Deno.test("finished waits for the callbacks that run", async () => {
  const ending = Promise.withResolvers<void>();
  const listener = listen(LOCAL, () => ending.promise);
  using _client = await connect(listener);
  await until(() => listener.stats.active === 1);
  let finished = false;
  listener.finished.then(() => finished = true);
  await listener.close();
  await turns();
  assertEquals(finished, false);
  ending.resolve();
  await listener.finished;
});

Deno.test("shutdown() waits for active connections and counts them", async () => {
  const listener = listen(LOCAL, untilEnd);
  const clients = await connectAll(listener, 3);
  await until(() => listener.stats.active === 3);
  const result = listener.shutdown();
  assertEquals(listener.state, "draining");
  assert(listener.signal.aborted);
  closeAll(clients);
  assertEquals(await result, { completed: 3, aborted: 0 });
  assertEquals(listener.state, "closed");
  await listener.finished;
});

Deno.test("shutdown() delivers what the kernel has completed", {
  ignore: shortQueue(300),
}, async () => {
  const ports: number[] = [];
  const listener = listen(
    { ...LOCAL, flags: LEV_OPT_DISABLED },
    async (conn) => {
      ports.push(conn.remoteAddr.port);
      await hello(conn);
    },
  );
  const clients = await connectAll(listener, 300);
  listener.resume();
  const result = await listener.shutdown();
  assertEquals(ports, clients.map((client) => client.localAddr.port));
  assertEquals(result, { completed: 300, aborted: 0 });
  assertEquals(
    await Promise.all(clients.map(readAll)),
    Array(300).fill("hello"),
  );
});

Deno.test("shutdown() delivers what came while the event loop was blocked", {
  // Both ends of each connection are here.
  ignore: fewDescriptors(3200),
}, async () => {
  // Those who are connected speak first: that is before the new ones for Deno, too.
  const [connected, late] = [1500, 20];
  const listener = listen(LOCAL, async (conn) => {
    await conn.read(new Uint8Array(1));
    await hello(conn);
  });
  const progress = new Int32Array(new SharedArrayBuffer(4));
  const source = `onmessage = async ({ data: { port, progress } }) => {
    const conns = [];
    const connect = async (count) => {
      for (; count > 0; count--) conns.push(await Deno.connect({ port }));
    };
    const speak = () => Promise.all(conns.splice(0).map(async (conn) => {
      await conn.write(new Uint8Array(1));
      return conn;
    }));
    await connect(${connected});
    Atomics.store(progress, 0, 1);
    while (Atomics.load(progress, 0) < 2);
    const all = await speak();
    await connect(${late});
    all.push(...await speak());
    Atomics.store(progress, 0, 3);
    postMessage(await Promise.all(all.map((conn) => new Response(conn.readable).text())));
  }`;
  const url = URL.createObjectURL(
    new Blob([source], { type: "text/javascript" }),
  );
  const worker = new Worker(url, { type: "module" });
  const answers = new Promise((resolve) => {
    worker.onmessage = ({ data }) => resolve(data);
  });
  worker.postMessage({ port: listener.addr.port, progress });
  await until(() => Atomics.load(progress, 0) === 1);
  await until(() => listener.stats.active === connected);
  await turns(); // an accept is in flight
  Atomics.store(progress, 0, 2);
  while (Atomics.load(progress, 0) < 3); // this is the blocking
  const completed = connected + late;
  assertEquals(await listener.shutdown(), { completed, aborted: 0 });
  assertEquals(await answers, Array(completed).fill("hello"));
  worker.terminate();
  URL.revokeObjectURL(url);
});

Deno.test("shutdown() delivers what came while a new process was blocked", async () => {
  // Deno has more to do for its first connections, so they come later.
  const { stdout } = await runProgram(
    `
    let served = 0;
    const where = { hostname: "127.0.0.1", port: 0 };
    const listener = evconn.listen(where, () => void served++);
    await new Promise((resolve) => setTimeout(resolve, 5)); // an accept is in flight
    const connect = "for (let i = 0; i < 3; i++) await Deno.connect({ port: " +
      listener.addr.port + " })";
    new Deno.Command(Deno.execPath(), { args: ["eval", connect] }).outputSync();
    await listener.shutdown();
    console.log(served);
    Deno.exit();`,
    "--allow-run",
  );
  assertEquals(stdout, "3");
});

Deno.test("shutdown() drains the queue of an adopted socket to its end", {
  // Both ends of each connection are here.
  ignore: shortQueue(600) || fewDescriptors(1300),
}, async () => {
  const socket = Deno.listen({ ...LOCAL, tcpBacklog: 1000 });
  const clients = await connectAll(socket, 600); // more than Deno's default
  const listener = new ConnListener(socket, {}, hello);
  assertEquals(await listener.shutdown(), { completed: 600, aborted: 0 });
  assertEquals(
    await Promise.all(clients.map(readAll)),
    Array(600).fill("hello"),
  );
});

Deno.test("shutdown() drains although the last accept has failed", async () => {
  const socket = new StandIn((call) =>
    call === 0 ? osError("EMFILE") : undefined
  );
  const clients = await connectAll(socket, 3);
  const result = Promise.withResolvers<ShutdownResult>();
  new ConnListener(socket, {
    onAcceptError: (_error, listener) => result.resolve(listener.shutdown()),
  }, hello);
  assertEquals(await result.promise, { completed: 3, aborted: 0 });
  for (const client of clients) assertEquals(await readAll(client), "hello");
});

Deno.test("shutdown() finds who waits behind many that are gone", {
  ignore: !NODE_CLIENTS_RESET || shortQueue(401),
}, async () => {
  const listener = listen({ ...LOCAL, flags: LEV_OPT_DISABLED }, hello);
  await connectAndReset(listener, 400);
  const client = await connect(listener);
  listener.resume();
  assertEquals(await listener.shutdown(), { completed: 1, aborted: 0 });
  assertEquals(await readAll(client), "hello");
});

Deno.test("shutdown() gives up on the queue when nothing can be accepted", async () => {
  const socket = new StandIn(() => osError("EMFILE"));
  const told = Promise.withResolvers<void>();
  const listener = new ConnListener(socket, {
    onAcceptError: () => told.resolve(),
  }, hello);
  await told.promise;
  assertEquals(await listener.shutdown(), { completed: 0, aborted: 0 });
});

Deno.test("shutdown() drains through a limit as connections end", async () => {
  let most = 0;
  const listener = listen(
    { ...LOCAL, maxConnections: 2, flags: LEV_OPT_DISABLED },
    async (conn) => {
      most = Math.max(most, listener.stats.active + 1);
      await untilEnd(conn);
    },
  );
  const clients = await connectAll(listener, 6);
  listener.resume();
  const result = listener.shutdown();
  for (const client of clients) {
    client.closeWrite();
    assert(await isClosed(client));
  }
  assertEquals([await result, most], [{ completed: 6, aborted: 0 }, 2]);
  closeAll(clients);
});

Deno.test("shutdown() ends although clients never stop coming", async () => {
  const clients: Promise<void>[] = [];
  const come = async () => {
    try {
      (await connect(listener)).close();
    } catch (error) {
      const late = error instanceof Deno.errors.ConnectionRefused ||
        wasInQueue(error);
      if (!late) throw error;
    }
  };
  // Whoever is taken makes another one come, so that the queue is never empty.
  const listener = listen({ ...LOCAL, tcpBacklog: 64 }, (conn) => {
    conn.close();
    clients.push(come());
  });
  for (let i = 0; i < 8; i++) clients.push(come());
  await until(() => listener.stats.accepted > 100);
  await listener.shutdown();
  await Promise.all(clients);
});

Deno.test("shutdown() drains nothing when told so, while paused, or without a callback", async () => {
  const refusing = [
    {
      prepare: (listener: ConnListener) => listener.resume(),
      drainBacklog: false,
    },
    { prepare: () => {}, drainBacklog: true },
    {
      prepare: (listener: ConnListener) => {
        listener.setCallback(null);
        listener.resume();
      },
      drainBacklog: true,
    },
  ];
  for (const { prepare, drainBacklog } of refusing) {
    const listener = listen({ ...LOCAL, flags: LEV_OPT_DISABLED }, () => {
      assert(false, "nothing is delivered");
    });
    using client = await connect(listener);
    prepare(listener);
    assertEquals(await listener.shutdown({ drainBacklog }), {
      completed: 0,
      aborted: 0,
    });
    assert(await isClosed(client));
    assertEquals(listener.stats.connectionErrors, 0); // the callback was not called
  }
});

Deno.test("shutdown({ timeout }) cuts off what is left", async () => {
  for (const timeout of [0, 20]) {
    const listener = listen(LOCAL, untilEnd);
    const clients = await connectAll(listener, 2);
    await until(() => listener.stats.active === 2);
    assertEquals(await listener.shutdown({ timeout }), {
      completed: 0,
      aborted: 2,
    });
    for (const client of clients) assert(await isClosed(client));
    await listener.finished;
    closeAll(clients);
  }
});

Deno.test("shutdown({ timeout }) does not wait for a callback that never settles", async () => {
  const listener = listen(LOCAL, () => new Promise<void>(() => {}));
  using client = await connect(listener);
  await until(() => listener.stats.active === 1);
  assertEquals(await listener.shutdown({ timeout: 1 }), {
    completed: 0,
    aborted: 1,
  });
  assert(await isClosed(client));
});

Deno.test("shutdown({ timeout: 0 }) from inside a callback cuts off its own connection", async () => {
  const controller = new AbortController();
  const { signal } = controller;
  for (
    const end of [
      (listener: ConnListener) => void listener.shutdown({ timeout: 0 }),
      () => controller.abort(),
    ]
  ) {
    const listener = listen({ ...LOCAL, signal }, (conn, listener) => {
      end(listener);
      return untilEnd(conn).catch(() => {});
    });
    using client = await connect(listener);
    assert(await isClosed(client));
    await listener.finished;
    assertEquals(listener.stats.active, 0);
  }
});

Deno.test("shutdown() in onConnectionError does not count what has failed as cut off", async () => {
  const result = Promise.withResolvers<ShutdownResult>();
  const listener = listen({
    ...LOCAL,
    onConnectionError: (_error, _conn, listener) =>
      result.resolve(listener.shutdown({ timeout: 0 })),
  }, () => Promise.reject(new Error("a bug")));
  using _client = await connect(listener);
  assertEquals(await result.promise, { completed: 0, aborted: 0 });
});

Deno.test("shutdown() again with a shorter timeout hurries the first one", async () => {
  const listener = listen(LOCAL, untilEnd);
  using client = await connect(listener);
  await until(() => listener.stats.active === 1);
  const patient = listener.shutdown();
  assertEquals(await listener.shutdown({ timeout: 0 }), {
    completed: 0,
    aborted: 1,
  });
  assertEquals(await patient, { completed: 0, aborted: 1 });
  assert(await isClosed(client));
});

Deno.test("shutdown() again keeps draining what the first one drains", async () => {
  const listener = listen(LOCAL, untilEnd);
  const client = await connect(listener);
  await until(() => listener.stats.active === 1);
  const first = listener.shutdown({ drainBacklog: false });
  const second = listener.shutdown();
  assertEquals(listener.state, "draining");
  client.close();
  assertEquals(await first, { completed: 1, aborted: 0 });
  assertEquals(await second, { completed: 1, aborted: 0 });
  assertEquals(listener.state, "closed");
});

Deno.test("shutdown() after close() waits for what is still active", async () => {
  const listener = listen(LOCAL, untilEnd);
  const client = await connect(listener);
  await until(() => listener.stats.active === 1);
  await listener.close();
  const result = listener.shutdown();
  client.close();
  assertEquals(await result, { completed: 1, aborted: 0 });
});

Deno.test("signal aborts handlers' own waits when closing or draining begins", async () => {
  for (const verb of ["close", "shutdown"] as const) {
    const listener = listen(LOCAL, async (_conn, listener) => {
      await new Promise((resolve) => {
        listener.signal.addEventListener("abort", resolve);
      });
    });
    using client = await connect(listener);
    await until(() => listener.stats.active === 1);
    await listener[verb]();
    assert(await isClosed(client));
    await listener.finished;
  }
});

Deno.test("options.signal shuts the listener down at once", async () => {
  const controller = new AbortController();
  const listener = listen({ ...LOCAL, signal: controller.signal }, untilEnd);
  using client = await connect(listener);
  await until(() => listener.stats.active === 1);
  controller.abort();
  assertEquals(listener.state, "closed");
  assert(await isClosed(client));
  await listener.finished;

  const late = listen({ ...LOCAL, signal: controller.signal }, () => {});
  assertEquals(late.state, "closed");
  await late.finished;
});

Deno.test("detach() gives back a socket that keeps the process alive", {
  ignore: !NODE_CLIENTS_RESET,
}, async () => {
  const { stdout } = await runProgram(
    `
    const listener = evconn.listen({ hostname: "127.0.0.1", port: 0 }, () => {});
    listener.pause(); // while an accept is in flight
    const reset = "import { connect } from 'node:net'; const client = connect(" +
      listener.addr.port + ", '127.0.0.1', () => client.resetAndDestroy())";
    new Deno.Command(Deno.execPath(), { args: ["eval", reset] }).outputSync();
    while (listener.stats.aborted === 0) {
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    const socket = listener.detach();
    socket.accept().catch(() => {}); // nobody comes
    Deno.unrefTimer(setTimeout(() => {
      console.log("alive");
      Deno.exit();
    }, 50));`,
    "--allow-run",
  );
  assertEquals(stdout, "alive");
});

Deno.test("detach() gives the socket back as it was when nothing is in flight", async () => {
  const socket = Deno.listen(LOCAL);
  const listener = new ConnListener(socket);
  assertEquals(listener.detach(), socket);
  await listener.finished;
  assertEquals(listener.state, "closed");
  assertEquals(listener.signal.aborted, false); // nobody need wind down
  socket.close();
});

Deno.test("detach() loses no connection, parked, in flight or queued", async () => {
  for (const state of ["in flight", "parked"]) {
    const listener = listen(LOCAL, () => assert(false, "nothing is delivered"));
    await turns(); // an accept is in flight
    listener.pause();
    const clients = await connectAll(listener, state === "parked" ? 1 : 0);
    await until(() => listener.stats.parked === clients.length);
    using socket = listener.detach();
    assertEquals(socket, listener.socket);
    assertEquals(socket.addr, listener.addr);
    clients.push(...await connectAll(listener, 3 - clients.length));
    const ports: number[] = [];
    for await (const conn of socket) {
      ports.push(conn.remoteAddr.port);
      conn.close();
      if (ports.length === 3) break;
    }
    assertEquals([state, ports], [
      state,
      clients.map((client) => client.localAddr.port),
    ]);
    closeAll(clients);
    await listener.finished;
    assertEquals(listener.stats.connectionErrors, 0); // the callback was not called
  }
});

Deno.test("detach() gives a socket that outlives the failure of what was in flight", async () => {
  const socket = Deno.listen(LOCAL);
  const accept = socket.accept.bind(socket);
  const inFlight = Promise.withResolvers<Deno.TcpConn>();
  let calls = 0;
  socket.accept = () => calls++ === 0 ? inFlight.promise : accept();
  const listener = new ConnListener(socket, {}, () => {});
  using handed = listener.detach();
  inFlight.reject(osError("ENOTCONN"));
  using client = await connect(handed);
  using conn = await handed.accept();
  assertEquals(conn.remoteAddr.port, client.localAddr.port);
});

Deno.test("what detach() gives fails as a Deno.Listener does", async () => {
  const socket = Deno.listen(LOCAL);
  const inFlight = Promise.withResolvers<Deno.TcpConn>();
  let calls = 0;
  socket.accept = () =>
    calls++ === 0 ? inFlight.promise : Promise.reject(osError("EMFILE"));
  using handed = new ConnListener(socket, {}, () => {}).detach();
  inFlight.reject(osError("EMFILE"));
  const loop = async () => {
    for await (const _ of handed) assert(false, "nothing is iterated");
  };
  await assertRejects(loop, Error, "EMFILE");
});

Deno.test("detach() gives a socket that can be adopted again", async () => {
  const first = listen(LOCAL, () => assert(false, "nothing is delivered"));
  await turns();
  await using second = new ConnListener(first.detach(), {}, hello);
  await turns();
  await using third = new ConnListener(second.detach(), {}, hello);
  assertEquals(await readAll(await connect(third)), "hello");
  third.unref();
  third.ref();
  assertEquals(await readAll(await connect(third)), "hello");
  assertEquals(first.stats.connectionErrors, 0); // its callback was not called
});

Deno.test("what detach() gives ends as a Deno.Listener does", async () => {
  const listener = listen(LOCAL, () => {});
  await turns();
  listener.pause();
  using client = await connect(listener);
  await until(() => listener.stats.parked === 1);
  const socket = listener.detach();
  socket.unref();
  socket.ref();
  socket.close();
  assert(await isClosed(client)); // the parked connection goes with it
  await assertRejects(() => socket.accept(), Deno.errors.BadResource);
  for await (const _ of socket) assert(false, "nothing is iterated");
  socket[Symbol.dispose]();
  Deno.listen({ ...LOCAL, port: listener.addr.port }).close();
});

Deno.test("free() closes with LEV_OPT_CLOSE_ON_FREE and detaches without", async () => {
  const closing = listen({ ...LOCAL, flags: LEV_OPT_CLOSE_ON_FREE }, () => {});
  closing.free();
  await closing.finished;
  Deno.listen({ ...LOCAL, port: closing.addr.port }).close();

  const detaching = listen(LOCAL, () => {});
  await turns();
  detaching.free();
  await detaching.finished;
  const accepted = detaching.socket.accept();
  using client = await connect(detaching);
  using conn = await accepted;
  assertEquals(conn.remoteAddr.port, client.localAddr.port);
  detaching.socket.close();
});

Deno.test("using closes, await using shuts down", async () => {
  let port: number;
  let finished: Promise<void>;
  {
    using listener = listen(LOCAL, () => {});
    ({ finished } = listener);
    port = listener.addr.port;
  }
  await finished;
  let client: Deno.TcpConn;
  {
    await using listener = listen({ ...LOCAL, port }, hello);
    client = await connect(listener); // only the drain can deliver it
  }
  assertEquals(await readAll(client), "hello");
});
