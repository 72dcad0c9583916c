/** Owners that change while a connection is looked at, waits, or is on its way. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  type ConnectionCallback,
  ConnListener,
  LEV_OPT_DEFERRED_ACCEPT,
  listen,
  type ListenerOptions,
  listenTls,
} from "@evconn/listener";
import { CERTIFICATE } from "../helpers/certificate.ts";
import {
  connect,
  connectAll,
  isClosed,
  readAll,
  turns,
  until,
} from "../helpers/clients.ts";
import { hasEnd } from "../helpers/has_end.ts";
import { bytes } from "../helpers/proxy_headers.ts";
import { osError, StandIn } from "../helpers/stand_in.ts";

type Socket = Deno.Listener<Deno.TcpConn, Deno.NetAddr>;

const LOCAL = { hostname: "127.0.0.1", port: 0 };
const DEFERRED = { ...LOCAL, flags: LEV_OPT_DEFERRED_ACCEPT };
const HEADER = bytes("PROXY TCP4 192.0.2.1 192.0.2.2 50000 443\r\n");
const X = "x".charCodeAt(0);
const closeAll = (conns: Deno.Conn[]) => conns.forEach((conn) => conn.close());
const hello: ConnectionCallback = async (conn) => {
  await conn.write(new TextEncoder().encode("hello"));
};

/** Fails if a socket that was detached does not serve a client. */
const NEXT: Record<string, (socket: Socket) => Promise<void>> = {
  async "another listener"(socket) {
    await using listener = new ConnListener(socket, {}, hello);
    assertEquals(await readAll(await connect(listener)), "hello");
  },
  async "accept()"(socket) {
    using _ = socket;
    const accepted = socket.accept();
    using client = await connect(socket);
    using conn = await accepted;
    assertEquals(conn.remoteAddr.port, client.localAddr.port);
  },
};

/** Why a client is turned away at once. */
const REFUSALS: Record<string, ListenerOptions> = {
  "admit": { admit: () => false },
  'overflow: "reject"': { overflow: "reject", maxConnections: 1 },
  "a proxyProtocol function": { proxyProtocol: () => false },
};

/** Ways to stop a listener, and to let it go on. */
const STOPS: Record<string, (listener: ConnListener) => () => void> = {
  "pause() and resume()"(listener) {
    listener.pause();
    return () => listener.resume();
  },
  "a hold() that is disposed of"(listener) {
    const hold = listener.hold("mine");
    return () => hold[Symbol.dispose]();
  },
  "setCallback(null) and another"(listener) {
    listener.setCallback(null);
    return () => listener.setCallback(() => {});
  },
};

for (const [why, options] of Object.entries(REFUSALS)) {
  for (const [how, stop] of Object.entries(STOPS)) {
    for (const verb of ["detach", "free"] as const) {
      for (const [next, serves] of Object.entries(NEXT)) {
        Deno.test(`${next} hears after ${how} around one that is turned away by ${why}, and ${verb}()`, async () => {
          const serving = Promise.withResolvers<void>();
          const listener = listen({ ...LOCAL, ...options }, (conn) => {
            conn.write(new Uint8Array(1)).catch(() => {});
            return serving.promise;
          });
          // With the limit, the first one fills the listener.
          const isLimit = options.maxConnections === 1;
          using first = isLimit ? await connect(listener) : undefined;
          if (first) await first.read(new Uint8Array(1));
          await turns(); // an accept is in flight
          const goOn = stop(listener);
          using client = await connect(listener);
          assert(await isClosed(client)); // also while nobody is wanted
          assertEquals(listener.stats.rejected, 1);
          goOn();
          listener[verb]();
          await serves(listener.socket);
          serving.resolve();
          await listener.finished;
        });
      }
    }
  }
}

/** A hook in which a listener may end, and what it answers. */
type Ends = (end: () => void, answer: boolean) => ListenerOptions;
const HOOKS: Record<string, Ends> = {
  admit: (end, answer) => ({
    admit: () => {
      end();
      return answer;
    },
  }),
  "the proxyProtocol function": (end, answer) => ({
    proxyProtocol: () => {
      end();
      return answer;
    },
  }),
  "onConnectionError, of what admit throws": (end) => ({
    admit: () => {
      throw new Error("a bug in admit");
    },
    onConnectionError: () => end(),
  }),
  onReject: (end) => ({ admit: () => false, onReject: () => end() }),
};

/** What a listener has to wait for. */
const WAITS: Record<string, ListenerOptions> = {
  "nothing to wait for": {},
  "a first byte to wait for": { flags: LEV_OPT_DEFERRED_ACCEPT },
  "a header to wait for": { proxyProtocol: true },
};

for (const [hook, ends] of Object.entries(HOOKS)) {
  for (const [wait, waiting] of Object.entries(WAITS)) {
    for (const answer of [true, false]) {
      const isAnswered = hook === "admit" || hook.includes("function");
      if (answer && !isAnswered) continue;
      const isProxied = waiting.proxyProtocol || hook.includes("function");
      const name = `in ${hook} that says ${answer}, with ${wait}`;

      /** A client, the listener and what it gives to whom. */
      const setUp = async (end: (listener: ConnListener) => void) => {
        let isOver = false;
        const listener: ConnListener = listen({
          ...LOCAL,
          ...waiting,
          ...ends(() => {
            if (!isOver) end(listener);
            isOver = true;
          }, answer),
        }, () => {
          throw new Error("delivered by one that has ended");
        });
        const client = await connect(listener);
        // In one: the connection may be closed by the time of another.
        await client.write(new Uint8Array([...isProxied ? HEADER : [], X]));
        return { listener, client };
      };

      Deno.test(`detach() ${name} gives the connection to the next listener once, if at all`, async () => {
        const texts: string[] = [];
        let next: ConnListener | undefined;
        const { listener, client } = await setUp((listener) => {
          next = new ConnListener(listener.detach(), {}, async (conn) => {
            const buffer = new Uint8Array(100);
            for (;;) { // the header is the program's to read, if nobody has
              const length = await conn.read(buffer) ?? 0;
              texts.push(new TextDecoder().decode(buffer.subarray(0, length)));
              if (length === 0 || texts.join("").endsWith("x")) break;
            }
            await hello(conn, next!, undefined);
          });
        });
        if (answer) assertEquals(await readAll(client), "hello");
        else await hasEnd(client);
        const { accepted, rejected, aborted } = listener.stats;
        const wasRejected = answer ? 0 : 1;
        assertEquals([accepted, rejected, aborted], [1, wasRejected, 0]);
        assertEquals(next!.stats.accepted, answer ? 1 : 0);
        assert(!answer || texts.join("").endsWith("x"));
        await NEXT["another listener"]!(next!.detach());
      });

      Deno.test(`detach() ${name} gives the connection to accept() once, if at all`, async () => {
        let accepted: Promise<Deno.TcpConn> | undefined;
        let socket: Socket | undefined;
        const { listener, client } = await setUp((listener) => {
          socket = listener.detach();
          accepted = socket.accept();
        });
        await until(() => accepted !== undefined);
        if (!answer) {
          assert(await isClosed(client));
          using other = await connect(listener);
          using conn = await accepted!;
          assertEquals(conn.remoteAddr.port, other.localAddr.port);
        } else {
          using conn = await accepted!;
          await hello(conn, listener, undefined);
          assertEquals(await client.read(new Uint8Array(5)), 5);
        }
        client.close();
        await NEXT["accept()"]!(socket!);
      });

      Deno.test(`close() ${name} closes the connection, and counts it`, async () => {
        const { listener, client } = await setUp((listener) => {
          listener.close();
        });
        await hasEnd(client);
        await listener.finished;
        const { accepted, rejected, aborted, waiting, parked } = listener.stats;
        assertEquals(
          { accepted, rejected, aborted, waiting, parked },
          {
            accepted: 1,
            rejected: answer ? 0 : 1,
            aborted: answer ? 1 : 0,
            waiting: 0,
            parked: 0,
          },
        );
      });
    }
  }
}

Deno.test("detach() in admit and again by the next owner leaves the connection to accept()", async () => {
  let socket: Socket | undefined;
  const listener: ConnListener = listen({
    ...LOCAL,
    admit: () => {
      socket = new ConnListener(listener.detach(), {}, () => {}).detach();
      return true;
    },
  }, () => {});
  using client = await connect(listener);
  await until(() => socket !== undefined);
  using conn = await socket!.accept();
  assertEquals(conn.remoteAddr.port, client.localAddr.port);
  socket!.close();
});

Deno.test("detach() in admit with a TLS handshake to wait for gives the connection to the next listener once", async () => {
  let next: ConnListener<Deno.TlsConn> | undefined;
  const options: ListenerOptions<Deno.TlsConn> = {
    handshakeTimeout: 60_000,
    admit: () => {
      next = new ConnListener(
        listener.detach() as Deno.TlsListener,
        {},
        async (conn) => {
          await conn.write(new TextEncoder().encode("hello"));
          await conn.closeWrite();
        },
      );
      return true;
    },
  };
  const listener = listenTls({ ...LOCAL, ...CERTIFICATE, ...options }, () => {
    throw new Error("delivered by one that has ended");
  });
  using client = await Deno.connectTls({
    hostname: "localhost",
    port: listener.addr.port,
    caCerts: [CERTIFICATE.cert],
  });
  assertEquals(await readAll(client), "hello");
  assertEquals([listener.stats.accepted, next!.stats.accepted], [1, 1]);
  await next!.shutdown();
});

Deno.test("what an accept in flight for the former owner brings is accepted and parked by the next one that is paused", async () => {
  const first = listen(LOCAL, () => {});
  await turns(); // an accept is in flight
  const second = new ConnListener(first.detach(), {}, hello);
  second.pause();
  using client = await connect(second);
  await until(() => second.stats.parked === 1);
  assertEquals([first.stats.accepted, second.stats.accepted], [0, 1]);
  second.resume();
  assertEquals(await readAll(client), "hello");
  await second.shutdown();
});

Deno.test("those that were not delivered are pulled by demand, and not by a listener that wants nobody", async () => {
  const first = listen(DEFERRED, () => {});
  const clients = await connectAll(first, 3);
  await until(() => first.stats.waiting === 3);
  const second = new ConnListener(first.detach());
  await turns();
  assertEquals(second.stats.accepted, 0);
  for (let i = 0; i < 3; i++) {
    using conn = await second.accept();
    assertEquals(conn.remoteAddr.port, clients[i]!.localAddr.port);
    await turns();
    assertEquals(second.stats.accepted, i + 1);
  }
  await second.close();
  closeAll(clients);
});

/** A listener whose accept in flight fails when a test says so; what comes after does not. */
function withFailing() {
  const failing = Promise.withResolvers<Deno.TcpConn>();
  const socket = new StandIn(() => undefined);
  const { accept } = socket;
  let calls = 0;
  socket.accept = () => calls++ === 0 ? failing.promise : accept.call(socket);
  const told: unknown[] = [];
  const listener = new ConnListener(socket, {
    onAcceptError: () => void told.push("the former owner"),
  }, () => {});
  return { listener, told, fail: () => failing.reject(osError("EMFILE")) };
}

Deno.test("an accept in flight for the former owner that fails is told to the present one", async () => {
  const { listener, told, fail } = withFailing();
  await using next = new ConnListener(listener.detach(), {
    onAcceptError: (error) => void told.push(error.message),
  }, hello);
  fail();
  assertEquals(await readAll(await connect(next)), "hello");
  assertEquals(told, ["EMFILE (os error)"]);
  assertEquals([listener.stats.acceptErrors, next.stats.acceptErrors], [0, 1]);
});

Deno.test("an accept in flight for the former owner that fails is not told to accept()", async () => {
  const { listener, told, fail } = withFailing();
  using socket = listener.detach();
  const accepted = socket.accept();
  fail();
  using client = await connect(socket);
  using conn = await accepted;
  assertEquals(conn.remoteAddr.port, client.localAddr.port);
  assertEquals(told, []);
});

Deno.test("a listener whose socket the program closes ends when nobody is inside any more, and does not spin", async () => {
  const socket = Deno.listen(LOCAL);
  let accepts = 0;
  const { accept } = socket;
  socket.accept = () => {
    accepts++;
    return accept.call(socket);
  };
  const listener = new ConnListener(socket, { proxyProtocol: true }, hello);
  using client = await connect(listener);
  await until(() => listener.stats.waiting === 1);
  const before = accepts;
  socket.close();
  await turns(20);
  assertEquals([listener.state, accepts], ["listening", before]);
  await client.write(HEADER);
  assertEquals(await readAll(client), "hello");
  await listener.finished;
  assertEquals([listener.state, accepts], ["closed", before]);
});

Deno.test("a listener whose socket the program closes rejects those that wait in accept()", async () => {
  const socket = Deno.listen(LOCAL);
  const listener = new ConnListener(socket);
  const accepted = listener.accept();
  socket.close();
  await assertRejects(() => accepted, Deno.errors.BadResource);
  await listener.finished;
});

Deno.test("close() of a listener with clients inside is quiet, whatever their reads come to", async () => {
  const failures: unknown[] = [];
  const listener = listen({
    ...DEFERRED,
    onConnectionError: (error) => void failures.push(error),
    onReject: () => void failures.push("rejected"),
  }, () => {});
  const clients = await connectAll(listener, 3);
  await until(() => listener.stats.waiting === 3);
  await clients[0]!.write(bytes("x")); // on its way
  clients[1]!.close();
  await listener.close();
  for (const client of [clients[0]!, clients[2]!]) await hasEnd(client);
  await turns(); // an error that nobody hears would end the test
  assertEquals([failures, listener.stats.aborted], [[], 3]);
});

Deno.test("read() of a connection that was taken with half a header gives that half at once", async () => {
  const listener = listen({ ...LOCAL, proxyProtocol: true }, () => {});
  using client = await connect(listener);
  await client.write(HEADER.subarray(0, 20));
  await until(() => listener.stats.waiting === 1);
  await turns(); // it has been read, and another read is pending
  using socket = listener.detach();
  using conn = await socket.accept();
  const buffer = new Uint8Array(100);
  // The client says nothing more.
  assertEquals(await conn.read(buffer), 20);
  assertEquals(buffer.subarray(0, 20), HEADER.slice(0, 20));
  const rest = conn.read(buffer);
  await client.write(HEADER.subarray(20));
  assertEquals(await rest, HEADER.length - 20);
});
