/** A socket that goes from one listener to the next: detach(), and adopting again. */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  ConnListener,
  LEV_OPT_DEFERRED_ACCEPT,
  LEV_OPT_DISABLED,
  listen,
  listenTls,
} from "@evconn/listener";
import { CERTIFICATE } from "../helpers/certificate.ts";
import {
  connect,
  connectAll,
  readAll,
  turns,
  until,
} from "../helpers/clients.ts";
import { hasEnd } from "../helpers/has_end.ts";
import { runProgram } from "../helpers/program.ts";
import { NODE_CLIENTS_RESET } from "../helpers/this_deno.ts";

type Socket = Deno.Listener<Deno.TcpConn, Deno.NetAddr>;

const LOCAL = { hostname: "127.0.0.1", port: 0 };
const closeAll = (conns: Deno.Conn[]) => conns.forEach((conn) => conn.close());
const hello = async (conn: Deno.Conn) => {
  await conn.write(new TextEncoder().encode("hello"));
};

/** What a socket may be in the middle of when it is detached. */
const STATES: Record<string, (listener: ConnListener) => Promise<unknown>> = {
  "idle": (listener) => {
    listener.pause();
    return Promise.resolve();
  },
  "with an accept in flight": () => turns(),
  "with a parked connection": async (listener) => {
    await turns(); // an accept is in flight
    listener.pause();
    const client = connect(listener);
    await until(() => listener.stats.parked === 1);
    return client;
  },
};

/** A socket that was detached in a state, and the client of what it has in hand. */
async function detached(
  state: string,
): Promise<{ socket: Socket; client?: Deno.TcpConn }> {
  const flags = state === "idle" ? LEV_OPT_DISABLED : 0;
  const listener = listen({ ...LOCAL, flags }, () => {});
  const client = await STATES[state]!(listener) as Deno.TcpConn | undefined;
  return { socket: listener.detach(), ...(client && { client }) };
}

/** Detaches and adopts so many times, with an accept pending each time if there is a callback. */
function handAround(
  socket: Socket,
  rounds: number,
  callback: (() => void) | null,
): Socket {
  for (; rounds > 0; rounds--) {
    socket = new ConnListener(socket, {}, callback).detach();
  }
  return socket;
}

/** Fails if a socket does not serve those who wait, and one more. */
async function assertServes(
  socket: Socket,
  waiting: Deno.TcpConn[] = [],
): Promise<void> {
  const { promise: failed, reject } = Promise.withResolvers<never>();
  failed.catch(() => {}); // whoever awaits it is told
  const options = { onAcceptError: reject };
  await using listener = new ConnListener(socket, options, hello);
  const clients = [...waiting, await connect(listener)];
  const answers = Promise.all(clients.map(readAll));
  assertEquals(
    await Promise.race([answers, failed]),
    clients.map(() => "hello"),
  );
}

for (const state of Object.keys(STATES)) {
  for (const callback of [null, () => {}]) {
    const between = callback ? "an accept pending" : "nobody accepting";
    Deno.test(`a socket that was detached ${state} is served after 12,000 rounds with ${between}`, async () => {
      const { socket, client } = await detached(state);
      const handed = handAround(socket, 12_000, callback);
      await assertServes(handed, client && [client]);
    });
  }

  Deno.test(`shutdown() delivers what an adopted socket that was detached ${state} has`, async () => {
    const { socket, client } = await detached(state);
    const clients = client ? [client] : [];
    clients.push(...await connectAll(socket, 3));
    const listener = new ConnListener(socket, {}, hello);
    const result = await listener.shutdown();
    assertEquals(result, { completed: clients.length, aborted: 0 });
    for (const client of clients) {
      assertEquals(await readAll(client), "hello");
    }
  });

  Deno.test(`a TLS socket that was detached ${state} is known to be one`, async () => {
    const listener = listenTls({ ...LOCAL, ...CERTIFICATE }, () => {});
    // deno-lint-ignore no-explicit-any
    const client = await STATES[state]!(listener as any);
    using socket = listener.detach();
    for (const option of ["noDelay", "keepAlive"]) {
      assertThrows(
        () => new ConnListener(socket, { [option]: true }),
        Deno.errors.NotSupported,
        option,
      );
    }
    (client as Deno.TcpConn | undefined)?.close();
  });
}

Deno.test("detach() gives who has spoken, who has not and what was in flight, in that order", async () => {
  const flags = LEV_OPT_DEFERRED_ACCEPT;
  const listener = listen({ ...LOCAL, flags }, () => {});
  const clients = await connectAll(listener, 4);
  await until(() => listener.stats.accepted === 4);
  listener.pause();
  for (const i of [2, 1]) {
    await hello(clients[i]!);
    await turns(); // it has been heard
  }
  using socket = handAround(listener.detach(), 2, () => {});
  clients.push(await connect(socket));
  for (const i of [2, 1, 0, 3, 4]) {
    using conn = await socket.accept();
    assertEquals(conn.remoteAddr.port, clients[i]!.localAddr.port);
  }
  closeAll(clients);
});

/** A client that resets before the event loop turns: the accept in flight will fail. */
function resetAtOnce({ addr: { port } }: Socket): void {
  const reset = `import { connect } from "node:net";
    const client = connect(${port}, "127.0.0.1", () => client.resetAndDestroy());`;
  const { success } = new Deno.Command(Deno.execPath(), {
    args: ["eval", reset],
  }).outputSync();
  assert(success);
}

Deno.test("detach() again before what is in flight fails loses nobody", {
  ignore: !NODE_CLIENTS_RESET,
}, async () => {
  const { socket } = await detached("with an accept in flight");
  const handed = handAround(socket, 3, () => {});
  resetAtOnce(handed);
  await assertServes(handed);
});

Deno.test("detach() again after what was in flight has failed loses nobody", {
  ignore: !NODE_CLIENTS_RESET,
}, async () => {
  const { socket } = await detached("with an accept in flight");
  const second = new ConnListener(socket, {}, () => {});
  resetAtOnce(socket);
  await turns(); // it has failed, and another accept is in flight
  await assertServes(handAround(second.detach(), 3, () => {}));
});

Deno.test(
  "close() of what was detached closes all that is in hand, also when what was in flight has failed",
  { ignore: !NODE_CLIENTS_RESET },
  async () => {
    const options = { proxyProtocol: true }; // nobody is delivered who says nothing
    const first = listen({ ...LOCAL, ...options }, () => {});
    const clients = await connectAll(first, 2);
    await until(() => first.stats.waiting === 2);
    const second = new ConnListener(first.detach(), options, () => {});
    await until(() => second.stats.waiting === 2);
    const socket = second.detach();
    resetAtOnce(socket);
    await turns(); // the accept in flight has failed
    socket.close();
    for (const client of clients) await hasEnd(client);
  },
);

Deno.test("detach() in a callback during shutdown() leaves the others to the next owner", async () => {
  let next: Socket | undefined;
  const options = { ...LOCAL, flags: LEV_OPT_DISABLED };
  const listener = listen(options, async (conn) => {
    next = listener.detach();
    await hello(conn);
  });
  const clients = await connectAll(listener, 3);
  listener.resume();
  assertEquals(await listener.shutdown(), { completed: 1, aborted: 0 });
  await assertServes(next!, clients);
});

Deno.test("accept() rejects when detach() ends the listener", async () => {
  const listener = listen(LOCAL);
  const waiting = [listener.accept(), listener.accept()];
  using socket = listener.detach();
  for (const accepted of waiting) {
    await assertRejects(() => accepted, Deno.errors.BadResource);
  }
  using client = await connect(socket);
  using conn = await socket.accept();
  assertEquals(conn.remoteAddr.port, client.localAddr.port);
});

Deno.test("close() of what detach() gives closes all that is in hand", async () => {
  const flags = LEV_OPT_DEFERRED_ACCEPT;
  const listener = listen({ ...LOCAL, flags }, () => {});
  const clients = await connectAll(listener, 3);
  await until(() => listener.stats.accepted === 3);
  await new ConnListener(listener.detach()).close();
  for (const client of clients) await hasEnd(client);
});

Deno.test("accept() of what detach() gives does not read from a silent client on its own account", async () => {
  const { stdout } = await runProgram(`
    const flags = evconn.LEV_OPT_DEFERRED_ACCEPT;
    const where = { hostname: "127.0.0.1", port: 0 };
    const listener = evconn.listen({ ...where, flags }, () => {});
    const client = await Deno.connect(listener.addr);
    while (listener.stats.accepted === 0) {
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    const conn = await listener.detach().accept(); // and nobody reads from it
    Deno.unrefTimer(setTimeout(() => {
      console.log("alive");
      Deno.exit();
    }, 30_000)); // it ends long before that`);
  assertEquals(stdout, "");
});
