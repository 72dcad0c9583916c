/** The cases of libevent's own test/regress_listener.c, under their names. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  ConnListener,
  LEV_OPT_CLOSE_ON_EXEC,
  LEV_OPT_CLOSE_ON_FREE,
  LEV_OPT_DISABLED,
  LEV_OPT_REUSEABLE,
  LEV_OPT_REUSEABLE_PORT,
  LEV_OPT_THREADSAFE,
  listen,
} from "@evconn/listener";
import { connectAll, isClosed, turns, until } from "../helpers/clients.ts";
import { runProgram } from "../helpers/program.ts";
import { osError, StandIn } from "../helpers/stand_in.ts";

const LOCAL = { hostname: "127.0.0.1", port: 0 };
const closeAll = (conns: Deno.Conn[]) => conns.forEach((conn) => conn.close());

/** Counts down and closes; at zero the listener is disabled, as in the original. */
function acceptCallback(
  conn: Deno.TcpConn,
  listener: ConnListener,
  counter: { count: number },
) {
  counter.count--;
  conn.close();
  if (counter.count === 0) listener.pause();
}

for (
  const [name, threadsafe] of [["randport", 0], [
    "randport_ts",
    LEV_OPT_THREADSAFE,
  ]] as const
) {
  Deno.test(`${name}: listeners on port 0 get different ports and their own connections`, async () => {
    const flags = LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE |
      LEV_OPT_CLOSE_ON_EXEC | threadsafe;
    const counter1 = { count: 2 };
    const counter2 = { count: 1 };
    const listener1 = listen({ ...LOCAL, flags }, acceptCallback, counter1);
    const listener2 = listen({ ...LOCAL, flags }, acceptCallback, counter2);
    assertEquals(listener1.addr.hostname, "127.0.0.1");
    assertEquals(listener2.addr.hostname, "127.0.0.1");
    assert(listener1.addr.port !== listener2.addr.port);
    const clients = [
      ...await connectAll(listener1, 2),
      ...await connectAll(listener2, 1),
    ];
    await until(() =>
      listener1.state === "paused" && listener2.state === "paused"
    );
    assertEquals([counter1.count, counter2.count], [0, 0]);
    closeAll(clients);
    listener1.free();
    listener2.free();
    await Promise.all([listener1.finished, listener2.finished]);
  });

  Deno.test(`${name}: with both listeners disabled, the loop ends by itself`, async () => {
    const { code, stdout } = await runProgram(`
      const flags = evconn.LEV_OPT_CLOSE_ON_FREE | ${threadsafe};
      const acceptCallback = ${acceptCallback};
      const counters = [{ count: 2 }, { count: 1 }];
      for (const counter of counters) {
        const { addr } = evconn.listen({ hostname: "127.0.0.1", port: 0, flags }, acceptCallback, counter);
        for (let i = counter.count; i > 0; i--) (await Deno.connect({ port: addr.port })).unref();
      }
      addEventListener("unload", () => console.log(counters.map((counter) => counter.count)));`);
    assertEquals([code, stdout], [0, "[ 0, 0 ]"]);
  });
}

for (
  const [name, threadsafe] of [["error", 0], [
    "error_ts",
    LEV_OPT_THREADSAFE,
  ]] as const
) {
  Deno.test(`${name}: the error callback runs and disables the listener`, async () => {
    const socket = new StandIn(() => osError("EBADF")); // what no system says of a peer
    const counter = { count: 1 };
    const flags = LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE | threadsafe;
    const told = Promise.withResolvers<void>();
    const listener = new ConnListener(
      socket,
      { flags },
      acceptCallback,
      counter,
    );
    listener.setErrorCallback((_error, listener, data) => {
      (data as typeof counter).count = 1000;
      listener.pause();
      told.resolve();
    });
    await told.promise;
    await until(() => listener.holds.length === 1); // the backoff is over
    await turns();
    assertEquals([counter.count, socket.calls], [1000, 1]);
    listener.free();
    await listener.finished;
  });
}

Deno.test("error_unlock: EMFILE without an error callback is survived, and the listener can be freed", async () => {
  const { code, stdout, stderr } = await runProgram(`
    const socket = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const code = "EMFILE";
    const failed = Promise.withResolvers();
    socket.accept = () => {
      failed.resolve();
      return Promise.reject(Object.assign(new Error(code), { code }));
    };
    const flags = evconn.LEV_OPT_CLOSE_ON_FREE | evconn.LEV_OPT_REUSEABLE | evconn.LEV_OPT_THREADSAFE;
    const listener = new evconn.ConnListener(socket, { flags }, () => {});
    await failed.promise;
    await new Promise((resolve) => setTimeout(resolve, 1));
    console.log(listener.state);
    listener.free();
    await listener.finished;
    console.log(listener.state);`);
  assertEquals([code, stdout], [0, "listening\nclosed"], stderr);
});

Deno.test("close_accepted_fd: the callback closes the connection and frees the listener", async () => {
  const flags = LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE;
  const counter = { count: 1 };
  const listener = listen({ ...LOCAL, flags }, (conn, listener, counter) => {
    counter.count--;
    conn.close();
    if (counter.count === 0) listener.free();
  }, counter);
  const clients = await connectAll(listener, 1);
  await listener.finished;
  assertEquals(counter.count, 0);
  assert(await isClosed(clients[0]!));
  closeAll(clients);
});

Deno.test("immediate_close: after the first callback disables the listener, the second client is not accepted", async () => {
  const flags = LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE | LEV_OPT_DISABLED;
  const counter = { count: 1 };
  const listener = listen({ ...LOCAL, flags }, acceptCallback, counter);
  const clients = await connectAll(listener, 2); // both are waiting
  listener.resume();
  await until(() => listener.state === "paused");
  await turns();
  assertEquals([counter.count, listener.stats.accepted], [0, 1]);
  closeAll(clients);
  listener.free();
  await listener.finished;
});

/** A thread that asks, each time it is told to, for the listener to be disabled. */
function disablingThread(listener: ConnListener) {
  const source = "onmessage = () => postMessage('disable')";
  const url = URL.createObjectURL(
    new Blob([source], { type: "text/javascript" }),
  );
  const worker = new Worker(url, { type: "module" });
  const disabled = Promise.withResolvers<void>();
  worker.onmessage = () => {
    listener.pause();
    worker.terminate();
    URL.revokeObjectURL(url);
    disabled.resolve();
  };
  return { start: () => worker.postMessage("go"), disabled: disabled.promise };
}

Deno.test("disable_in_thread: another thread disables the listener while the callback runs", async () => {
  const flags = LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE | LEV_OPT_THREADSAFE;
  const listener = listen({ ...LOCAL, flags }, async (conn) => {
    thread.start();
    await thread.disabled; // still running when it happens
    conn.close();
  });
  const thread = disablingThread(listener);
  const clients = await connectAll(listener, 1);
  await thread.disabled;
  assertEquals(listener.state, "paused");
  assert(await isClosed(clients[0]!));
  closeAll(clients);
  listener.free();
  await listener.finished;
});

Deno.test("disable_in_thread_error: another thread disables it while the error callback runs", async () => {
  const socket = new StandIn(() => osError("EBADF"));
  const flags = LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE | LEV_OPT_THREADSAFE;
  const listener = new ConnListener(socket, { flags }, () => {});
  const thread = disablingThread(listener);
  listener.setErrorCallback(() => thread.start());
  await thread.disabled;
  assertEquals(listener.state, "paused");
  listener.free();
  await listener.finished;
});

Deno.test(
  "reuseport_on_unix_socket: REUSEABLE and REUSEABLE_PORT fail, without either it works",
  {
    ignore: Deno.build.os === "windows",
  },
  async () => {
    const path = `${await Deno.makeTempDir()}/listener.sock`;
    const make = (flags: number) =>
      listen(
        { transport: "unix", path, flags: flags | LEV_OPT_CLOSE_ON_FREE },
        () => {},
      );
    assertThrows(
      () => make(LEV_OPT_REUSEABLE),
      TypeError,
      "LEV_OPT_REUSEABLE is a flag of TCP",
    );
    assertThrows(
      () => make(LEV_OPT_REUSEABLE_PORT),
      TypeError,
      "LEV_OPT_REUSEABLE_PORT is a flag of TCP",
    );
    const listener = make(0);
    listener.free();
    await listener.finished;
  },
);
