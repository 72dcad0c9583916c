/** Which failures of a callback are errors, and which are quiet. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { connect as nodeConnect } from "node:net";
import { PassThrough } from "node:stream";
import { finished } from "node:stream/promises";
import { connect as tlsConnect } from "node:tls";
import { type ConnListener, listen, listenTls } from "@evconn/listener";
import { CERTIFICATE } from "../helpers/certificate.ts";
import { connect, isClosed, turns, until } from "../helpers/clients.ts";
import { QuietConsole } from "../helpers/console.ts";
import { echo, roundTrip } from "../helpers/faults.ts";
import { NODE_CLIENTS_RESET } from "../helpers/this_deno.ts";

const LOCAL = { hostname: "127.0.0.1", port: 0 };

type Serve = (conn: Deno.Conn) => Promise<unknown>;
type Come = (listener: { addr: Deno.NetAddr }) => Promise<unknown>;
type Hooks = { onConnectionError?: (error: unknown) => void };
// deno-lint-ignore no-explicit-any
type Make = (hooks: Hooks, serve: Serve) => ConnListener<any, Deno.NetAddr>;

const tcp: Make = (hooks, serve) => listen({ ...LOCAL, ...hooks }, serve);
const tls: Make = (hooks, serve) =>
  listenTls({ ...LOCAL, ...CERTIFICATE, ...hooks }, serve);
const nameOf = (make: Make) => make === tcp ? "listen()" : "listenTls()";

/** What comes of a callback's end: who is told of which errors, and the counts. */
interface Outcome {
  told: string[];
  printed: string[];
  connectionErrors: number;
  aborted: number;
}
const QUIET = { told: [], printed: [], connectionErrors: 0, aborted: 0 };
const ABORTED = { ...QUIET, aborted: 1 };

/** One client comes to a listener, which has a hook or not. */
async function assertOutcome(
  expected: Outcome,
  make: Make,
  hasHook: boolean,
  serve: Serve,
  come: Come,
): Promise<void> {
  using console = new QuietConsole();
  const told: Error[] = [];
  const hook = (error: unknown) => void told.push(error as Error);
  const ended = Promise.withResolvers<void>();
  const listener = make(
    hasHook ? { onConnectionError: hook } : {},
    (conn) => serve(conn).finally(ended.resolve),
  );
  await Promise.all([come(listener), ended.promise]);
  await listener.shutdown();
  const count = expected.connectionErrors + expected.aborted;
  const stats = () => listener.stats;
  const isCounted = () => stats().connectionErrors + stats().aborted >= count;
  await until(isCounted, "all is counted", 5);
  await turns(); // and no more than that
  const { connectionErrors, aborted } = stats();
  assertEquals({
    told: told.map(({ name }) => name),
    printed: console.errors.map(([what, error]) =>
      `${what} ${(error as Error).name}`
    ),
    connectionErrors,
    aborted,
  }, expected);
}

const RESETS = new Set<Come>();

/** Sends something, and resets the connection when the first bytes have come. */
function sendAndReset(text: string): Come {
  const come: Come = async ({ addr }) => {
    const client = nodeConnect(addr.port, addr.hostname);
    if (text !== "") client.write(text);
    await new Promise((resolve) => client.once("data", resolve));
    client.resetAndDestroy();
    await new Promise((resolve) => client.once("close", resolve));
  };
  RESETS.add(come);
  return come;
}

const resetOnceServed = sendAndReset("");

/** Two tests: a listener with a hook, and one without. */
function testQuiet(
  what: string,
  make: Make,
  serve: Serve,
  come: Come,
  expected: Outcome = QUIET,
): void {
  for (const hasHook of [true, false]) {
    const whom = hasHook ? "onConnectionError" : "the console";
    Deno.test({
      name: `${nameOf(make)} does not tell ${whom} when ${what}`,
      ignore: !NODE_CLIENTS_RESET && RESETS.has(come),
      fn: () => assertOutcome(expected, make, hasHook, serve, come),
    });
  }
}

const read = (conn: Deno.Conn) => conn.read(new Uint8Array(100));
const leave: Come = async (listener) => (await connect(listener)).close();
const waitForEnd: Come = async (listener) => {
  using client = await connect(listener);
  assert(await isClosed(client));
};

testQuiet("a callback closes its connection while it reads", tcp, (conn) => {
  setTimeout(() => conn.close());
  return read(conn);
}, waitForEnd);

testQuiet("a callback closes its connection while it pipes", tcp, (conn) => {
  setTimeout(() => conn.close());
  return conn.readable.pipeTo(new WritableStream());
}, waitForEnd);

testQuiet(
  "a callback writes after it has closed its connection",
  tcp,
  (conn) => {
    conn.close();
    return conn.write(new Uint8Array(1));
  },
  waitForEnd,
);

/** Forwards to an upstream server both ways, as it is usually written. */
const relayTo = (upstream: Serve): Serve => async (conn) => {
  await using server = listen(LOCAL, upstream);
  const up = await connect(server);
  await Promise.all([
    conn.readable.pipeTo(up.writable),
    up.readable.pipeTo(conn.writable),
  ]);
};

const askOnce: Come = async (listener) => {
  using client = await connect(listener);
  assertEquals(await roundTrip(client, "hello"), "hello");
};

testQuiet("the client of a relay leaves", tcp, relayTo(echo), askOnce);

testQuiet(
  "the client of a relay sends no more",
  tcp,
  relayTo(echo),
  async (listener) => {
    using client = await connect(listener);
    assertEquals(await roundTrip(client, "hello"), "hello");
    await client.closeWrite();
    assert(await isClosed(client));
  },
);

testQuiet(
  "the server behind a relay leaves",
  tcp,
  relayTo(async (conn) => {
    await conn.write(new TextEncoder().encode("hello"));
    await read(conn);
  }),
  askOnce,
);

testQuiet("a client resets while a callback reads", tcp, async (conn) => {
  await conn.write(new Uint8Array(1));
  await read(conn);
}, resetOnceServed);

testQuiet("a client resets while a callback writes", tcp, async (conn) => {
  for (;;) await conn.write(new Uint8Array(100_000));
}, resetOnceServed);

/** Serves a stream of Node's until the client has gone, and does something with it then. */
const withNodeStream =
  (use: (stream: PassThrough) => Promise<unknown>): Serve => async (conn) => {
    await conn.write(new Uint8Array(1));
    const stream = new PassThrough();
    await read(conn).catch(() => stream.destroy());
    await use(stream);
  };

testQuiet(
  "a stream of Node's ends too early",
  tcp,
  withNodeStream((stream) => finished(stream)),
  resetOnceServed,
);

testQuiet(
  "a callback writes to a stream of Node's that has been destroyed",
  tcp,
  withNodeStream((stream) =>
    new Promise<void>((resolve, reject) => {
      stream.write("hello", (error) => error ? reject(error) : resolve());
    })
  ),
  resetOnceServed,
);

testQuiet("a client's reset has caused an error", tcp, async (conn) => {
  await conn.write(new Uint8Array(1));
  try {
    await read(conn);
  } catch (error) {
    const cause = new Error("Cannot read", { cause: error });
    throw new Error("Cannot serve", { cause });
  }
}, resetOnceServed);

/** Serves HTTP as older programs do: Deno 2 still has it, without its type. */
const serveHttp: Serve = async (conn) => {
  // deno-lint-ignore no-explicit-any
  const requests = (Deno as any).serveHttp(conn);
  try {
    for await (const { request, respondWith } of requests) {
      const body = request.text();
      const hello = body.then(() => new Response("hello"));
      await respondWith(hello);
      await body;
    }
  } finally {
    requests.close();
  }
};

/** What a client of HTTP sends that resets when it gets the first bytes. */
const REQUESTS: Record<string, string> = {
  "a head": "GET / HTTP/1.1\r\nHost: local\r\n\r\nGET / HTTP/1.1\r\nHost: lo",
  // It gets the 100 when its body is read.
  "a body":
    "POST / HTTP/1.1\r\nHost: local\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n",
};

for (const [part, request] of Object.entries(REQUESTS)) {
  const what = `a client resets in the middle of ${part} of HTTP`;
  testQuiet(what, tcp, serveHttp, sendAndReset(request));
}

/** What callbacks do with a connection: Deno shakes hands at the first of it. */
const USES: Record<string, Serve> = {
  "reads": read,
  "writes": (conn) => conn.write(new Uint8Array(1)),
  "pipes": (conn) => conn.readable.pipeTo(conn.writable),
  "shakes hands": (conn) => (conn as Deno.TlsConn).handshake(),
  "reads and closes": async (conn) => {
    using _closing = conn;
    await read(conn);
  },
};

/** How clients fail to shake hands. */
const NO_HANDSHAKES: Record<string, Come> = {
  "speaks no TLS": async (listener) => {
    using client = await connect(listener);
    await client.write(new TextEncoder().encode("GET / HTTP/1.0\r\n\r\n"));
    // TLS's word for "what was that?", and the end.
    await new Response(client.readable).bytes().catch(() => {});
  },
  "leaves at once": leave,
  "does not trust the certificate": async ({ addr: { port } }) => {
    using client = await Deno.connectTls({ hostname: "localhost", port });
    await assertRejects(() => client.handshake(), Deno.errors.InvalidData);
  },
};

for (const [uses, serve] of Object.entries(USES)) {
  for (const [fails, come] of Object.entries(NO_HANDSHAKES)) {
    const what = `a callback ${uses} and a client ${fails}`;
    testQuiet(what, tls, serve, come, ABORTED);
  }
}

/** Leaves without the goodbye that TLS has, after the handshake. */
const vanish: Come = async ({ addr: { port } }) => {
  const client = tlsConnect({ host: "localhost", port, ca: CERTIFICATE.cert });
  client.write("hello");
  await new Promise((resolve) => client.once("data", resolve));
  client.destroy();
};
const ECHOES: Record<string, Serve> = {
  "reads": echo,
  "pipes": (conn) => conn.readable.pipeTo(conn.writable),
  "reads and closes": async (conn) => {
    using _closing = conn;
    await echo(conn);
  },
};
for (const [uses, serve] of Object.entries(ECHOES)) {
  const what = `a callback ${uses} and a client vanishes after the handshake`;
  testQuiet(what, tls, serve, vanish);
}

/** Does something with a connection that is not the one that is served. */
const withAnother =
  (use: (another: Deno.Conn) => Promise<unknown>): Serve => async () => {
    using server = Deno.listen(LOCAL);
    using another = await connect(server);
    using _accepted = await server.accept();
    await use(another);
  };

/** Errors of the program's own, by their names. */
const BUGS: Record<string, Serve> = {
  Error: () => Promise.reject(new Error("a bug")),
  TypeError: () => {
    const error = new TypeError("a circle");
    error.cause = error;
    return Promise.reject(error);
  },
  Http: () => Promise.reject(new Deno.errors.Http("already in use")),
  BadResource: withAnother((another) => {
    another.close();
    return read(another);
  }),
  Interrupted: withAnother((another) => {
    const reading = read(another);
    another.close();
    return reading;
  }),
};

for (const [name, serve] of Object.entries(BUGS)) {
  for (const make of [tcp, tls]) {
    const what = `${name} that has nothing to do with the connection`;

    Deno.test(`${nameOf(make)} tells onConnectionError of ${what}`, () => {
      const expected = { ...QUIET, told: [name], connectionErrors: 1 };
      return assertOutcome(expected, make, true, serve, leave);
    });

    Deno.test(`${nameOf(make)} tells the console of ${what}`, () => {
      const printed = [`Error in a connection callback: ${name}`];
      const expected = { ...QUIET, printed, connectionErrors: 1 };
      return assertOutcome(expected, make, false, serve, leave);
    });
  }
}

Deno.test("listenTls() tells of a callback's own InvalidData after the handshake, though the connection is closed", () => {
  const serve: Serve = async (conn) => {
    using _closing = conn;
    await (conn as Deno.TlsConn).handshake();
    throw new Deno.errors.InvalidData("A file is broken");
  };
  const come: Come = async ({ addr: { port } }) => {
    const { cert } = CERTIFICATE;
    const options = { hostname: "localhost", port, caCerts: [cert] };
    using client = await Deno.connectTls(options);
    await client.handshake();
  };
  const expected = { ...QUIET, told: ["InvalidData"], connectionErrors: 1 };
  return assertOutcome(expected, tls, true, serve, come);
});
