/** Code that was written for `Deno.listen`, with `listen` in its place. */
import { assertEquals, assertRejects } from "@std/assert";
import { freePort } from "../helpers/free_port.ts";
import {
  ConnListener,
  LEV_OPT_DISABLED,
  listen,
  type ListenerOptions,
  listenTls,
} from "@evconn/listener";
import { CERTIFICATE } from "../helpers/certificate.ts";
import { connect, isClosed, readAll, until } from "../helpers/clients.ts";
import { runProgram } from "../helpers/program.ts";
import { osError, StandIn } from "../helpers/stand_in.ts";
import { TempDir } from "../helpers/temp_dir.ts";
import { REMOVES_UNIX_FILES, TAKES_NO_PORT } from "../helpers/this_deno.ts";

const LOCAL = { hostname: "127.0.0.1", port: 0 };
const hello = (conn: Deno.Conn) =>
  conn.write(new TextEncoder().encode("hello"));

/** Listens on a port, 0 if none is given, or always on the same path. */
type Make = (port?: number) => Deno.Listener;
const TRANSPORTS: Record<string, (dir: string) => Make> = {
  TCP: () => (port = 0) => listen({ ...LOCAL, port }),
  TLS: () => (port = 0) => listenTls({ ...LOCAL, ...CERTIFICATE, port }),
  Unix: (dir) => () => listen({ transport: "unix", path: `${dir}/a.sock` }),
};

/** Fails if the address of a listener cannot be listened on again. */
function assertFree(make: Make, { addr }: Deno.Listener): void {
  make("port" in addr ? addr.port : undefined).close();
}

for (const [name, makeIn] of Object.entries(TRANSPORTS)) {
  const ignore = name === "Unix" && !REMOVES_UNIX_FILES;

  Deno.test(
    `for await ends when the ${name} address can be listened on again`,
    {
      ignore,
    },
    async () => {
      await using dir = new TempDir();
      const make = makeIn(dir.path);
      const listener = make();
      const loop = (async () => {
        for await (const conn of listener) conn.close();
      })();
      listener.close();
      await loop;
      assertFree(make, listener);
    },
  );

  Deno.test(
    `accept() rejects when the ${name} address can be listened on again`,
    {
      ignore,
    },
    async () => {
      await using dir = new TempDir();
      const make = makeIn(dir.path);
      const listener = make();
      const waiting = listener.accept();
      listener.close();
      await assertRejects(() => waiting, Deno.errors.BadResource);
      assertFree(make, listener);
    },
  );

  Deno.test(
    `accept() called while a ${name} listener closes rejects when its address can be listened on again`,
    {
      ignore,
    },
    async () => {
      await using dir = new TempDir();
      const make = makeIn(dir.path);
      const listener = make();
      listener.accept().catch(() => {}); // Deno closes the socket when it settles
      listener.close();
      await assertRejects(() => listener.accept(), Deno.errors.BadResource);
      assertFree(make, listener);
    },
  );

  Deno.test(
    `next() called while a ${name} listener closes ends when its address can be listened on again`,
    {
      ignore,
    },
    async () => {
      await using dir = new TempDir();
      const make = makeIn(dir.path);
      const listener = make();
      listener.accept().catch(() => {}); // Deno closes the socket when it settles
      listener.close();
      const { done } = await listener[Symbol.asyncIterator]().next();
      assertEquals(done, true);
      assertFree(make, listener);
    },
  );
}

/** A program's configuration: nothing of it is an own property. */
class Config {
  readonly #values = {
    ...LOCAL,
    ...CERTIFICATE,
    port: freePort(),
    maxConnections: 3,
    flags: LEV_OPT_DISABLED,
  };

  get hostname() {
    return this.#values.hostname;
  }

  get port() {
    return this.#values.port;
  }

  get cert() {
    return this.#values.cert;
  }

  get key() {
    return this.#values.key;
  }

  get maxConnections() {
    return this.#values.maxConnections;
  }

  get flags() {
    return this.#values.flags;
  }
}

class UnixConfig {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  get transport() {
    return "unix" as const;
  }

  get path() {
    return this.#path;
  }
}

Deno.test("listen() takes options from the getters of a class", async () => {
  const config = new Config();
  await using listener = listen(config);
  assertEquals(listener.addr.hostname, "127.0.0.1");
  assertEquals(listener.addr.port, config.port);
  assertEquals([listener.maxConnections, listener.state], [3, "paused"]);
});

Deno.test(
  "listen() takes the path of a Unix socket from the getter of a class",
  {
    ignore: Deno.build.os === "windows",
  },
  async () => {
    await using dir = new TempDir();
    const config = new UnixConfig(`${dir.path}/a.sock`);
    await using listener = listen(config);
    assertEquals(listener.addr.path, config.path);
  },
);

Deno.test("listenTls() takes options from the getters of a class", async () => {
  const config = new Config();
  await using listener = listenTls(config);
  assertEquals(listener.addr.port, config.port);
  assertEquals([listener.maxConnections, listener.state], [3, "paused"]);
});

Deno.test("ConnListener() takes options from the getters of a class", async () => {
  await using listener = new ConnListener(Deno.listen(LOCAL), new Config());
  assertEquals([listener.maxConnections, listener.state], [3, "paused"]);
});

Deno.test("listen() takes options that are inherited", async () => {
  const defaults = { hostname: "127.0.0.1", maxConnections: 3 };
  const options: Deno.TcpListenOptions = Object.create(defaults);
  options.port = 0;
  await using listener = listen(options);
  assertEquals(listener.addr.hostname, "127.0.0.1");
  assertEquals(listener.maxConnections, 3);
});

const OWN_OPTIONS: Required<ListenerOptions> = {
  flags: 0,
  maxConnections: 3,
  overflow: "queue",
  maxConnectionsPerPeer: 2,
  admit: () => true,
  onReject: () => {},
  proxyProtocol: false,
  handshakeTimeout: 5000,
  idleTimeout: 5000,
  noDelay: true,
  keepAlive: true,
  signal: new AbortController().signal,
  onAcceptError: () => {},
  onConnectionError: () => {},
};
const TCP_OPTIONS = {
  ...LOCAL,
  transport: "tcp" as const,
  reusePort: false,
  tcpBacklog: 7,
  ...OWN_OPTIONS,
};
const TLS_OPTIONS = {
  ...TCP_OPTIONS,
  ...CERTIFICATE,
  alpnProtocols: ["x"],
  noDelay: false,
  keepAlive: false,
  admit: () => true,
  onReject: () => {},
  onAcceptError: () => {},
  onConnectionError: () => {},
};

/** The same options, and how often each was read up to now. */
function counting<T extends object>(
  options: T,
): { options: T; reads: Record<string, number> } {
  const reads: Record<string, number> = {};
  const counted = {} as T;
  for (const name of Object.keys(options) as (keyof T & string)[]) {
    reads[name] = 0;
    Object.defineProperty(counted, name, {
      get: () => {
        reads[name]!++;
        return options[name];
      },
    });
  }
  return { options: counted, reads };
}

/** Each of the options once. */
const once = (options: object) =>
  Object.fromEntries(Object.keys(options).map((name) => [name, 1]));

Deno.test("listen() reads each option once, whatever happens after", async () => {
  const { options, reads } = counting(TCP_OPTIONS);
  await using listener = listen(options, () => {
    throw new Error("a bug");
  });
  using client = await connect(listener);
  assertEquals(await isClosed(client), true);
  await listener.shutdown();
  assertEquals(reads, once(TCP_OPTIONS));
});

Deno.test("listenTls() reads each option once", async () => {
  const { options, reads } = counting(TLS_OPTIONS);
  await using _listener = listenTls(options);
  assertEquals(reads, once(TLS_OPTIONS));
});

Deno.test("ConnListener() reads each option once, whatever happens after", async () => {
  const { options, reads } = counting(OWN_OPTIONS);
  const socket = new StandIn((call) =>
    call < 2 ? osError("EMFILE") : undefined
  );
  await using listener = new ConnListener(socket, options, hello);
  assertEquals(await readAll(await connect(listener)), "hello");
  assertEquals(reads, once(OWN_OPTIONS));
});

Deno.test("options that are changed later change nothing", async () => {
  const told: string[] = [];
  const options: ListenerOptions = {
    onAcceptError: () => void told.push("accept error"),
    onConnectionError: () => void told.push("connection error"),
  };
  const socket = new StandIn((call) =>
    call < 1 ? osError("EMFILE") : undefined
  );
  await using listener = new ConnListener(socket, options, () => {
    throw new Error("a bug");
  });
  options.onAcceptError = options.onConnectionError = () =>
    void told.push("no");
  options.maxConnections = 1;
  using client = await connect(listener);
  assertEquals(await isClosed(client), true);
  await until(() => told.length === 2);
  assertEquals(told, ["accept error", "connection error"]);
  assertEquals(listener.maxConnections, Infinity);
});

Deno.test("listenTls() keeps neither its options nor the key in them", async () => {
  const { stdout, stderr } = await runProgram(
    `const certificate = ${JSON.stringify(CERTIFICATE)};
    const listen = () => {
      const options = { hostname: "127.0.0.1", port: 0, ...certificate };
      return [evconn.listenTls(options, () => {}), new WeakRef(options)];
    };
    const [listener, options] = listen();
    await new Promise((resolve) => setTimeout(resolve)); // a WeakRef holds for a turn
    gc();
    console.log(listener.state, options.deref());
    await listener.close();`,
    "--v8-flags=--expose-gc",
  );
  assertEquals([stdout, stderr], ["listening undefined", ""]);
});

for (const name of Object.keys(TCP_OPTIONS)) {
  const ignore = name === "port" && !TAKES_NO_PORT;
  Deno.test(
    `listen() takes null for ${name} as not given`,
    { ignore },
    async () => {
      const options = { ...LOCAL, [name]: null };
      await using listener = listen(options, hello);
      assertEquals(await readAll(await connect(listener)), "hello");
      assertEquals(listener.maxConnections, Infinity);
    },
  );
}

for (const name of Object.keys(TLS_OPTIONS)) {
  if (["cert", "key"].includes(name)) continue;
  const ignore = name === "port" && !TAKES_NO_PORT;
  Deno.test(
    `listenTls() takes null for ${name} as not given`,
    { ignore },
    async () => {
      const options = { ...LOCAL, ...CERTIFICATE, [name]: null };
      await using listener = listenTls(options, hello);
      const client = await Deno.connectTls({
        hostname: "localhost",
        port: listener.addr.port,
        caCerts: [CERTIFICATE.cert],
      });
      assertEquals(await readAll(client), "hello");
    },
  );
}

Deno.test("ConnListener() takes null for each option as not given", async () => {
  const options = Object.fromEntries(
    Object.keys(OWN_OPTIONS).map((name) => [name, null]),
  );
  const socket = Deno.listen(LOCAL);
  await using listener = new ConnListener(socket, options, hello);
  assertEquals(await readAll(await connect(listener)), "hello");
  assertEquals([listener.flags, listener.maxConnections], [0, Infinity]);
});
