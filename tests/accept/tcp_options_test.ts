/** What the listener sets on sockets, read back from Linux itself. */
import { assertEquals } from "@std/assert";
import { ConnListener, listen } from "@evconn/listener";
import { connect, isClosed } from "../helpers/clients.ts";
import { StandIn } from "../helpers/stand_in.ts";

const ignore = Deno.build.os !== "linux";

/** The descriptor of this process whose socket has this local port and a peer. */
async function descriptorOf(port: number): Promise<number> {
  const hex = port.toString(16).toUpperCase().padStart(4, "0");
  const table = (await Deno.readTextFile("/proc/self/net/tcp")).split("\n")
    .map((line) => line.trim().split(/\s+/));
  const inode = table.find((row) =>
    row[1]?.endsWith(`:${hex}`) && row[3] === "01"
  )?.[9];
  for (const { name } of Deno.readDirSync("/proc/self/fd")) {
    if (targetOf(`/proc/self/fd/${name}`) === `socket:[${inode}]`) {
      return Number(name);
    }
  }
  throw new Error(`No socket with port ${port}`);
}

/** What a descriptor is; nothing if it is gone, as the one that lists them. */
function targetOf(path: string): string | undefined {
  try {
    return Deno.readLinkSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

const SOL_SOCKET = 1;
const SO_KEEPALIVE = 9;
const IPPROTO_TCP = 6;
const TCP_NODELAY = 1;

/** Whether a socket has an option on: getsockopt(2). */
function isOn(descriptor: number, level: number, option: number): boolean {
  const libc = Deno.dlopen("libc.so.6", {
    getsockopt: {
      parameters: ["i32", "i32", "i32", "buffer", "buffer"],
      result: "i32",
    },
  });
  const value = new Int32Array(1);
  const size = new Uint32Array([4]);
  const status = libc.symbols.getsockopt(
    descriptor,
    level,
    option,
    value,
    size,
  );
  libc.close();
  assertEquals(status, 0);
  return value[0] !== 0;
}

Deno.test(
  "noDelay and keepAlive set TCP_NODELAY and SO_KEEPALIVE",
  { ignore },
  async () => {
    for (
      const options of [
        { noDelay: true, keepAlive: true },
        { noDelay: true, keepAlive: false },
        { noDelay: false, keepAlive: true },
        {},
      ]
    ) {
      await using listener = listen({
        hostname: "127.0.0.1",
        port: 0,
        ...options,
      });
      using _client = await connect(listener);
      using conn = await listener.accept();
      const descriptor = await descriptorOf(conn.localAddr.port);
      assertEquals(
        isOn(descriptor, IPPROTO_TCP, TCP_NODELAY),
        options.noDelay ?? false,
      );
      assertEquals(
        isOn(descriptor, SOL_SOCKET, SO_KEEPALIVE),
        options.keepAlive ?? false,
      );
    }
  },
);

Deno.test("a child process inherits neither the listener nor a connection", {
  ignore,
}, async () => {
  const socketsOf = (process: number | "self") =>
    new Set(
      [...Deno.readDirSync(`/proc/${process}/fd`)]
        .map(({ name }) => targetOf(`/proc/${process}/fd/${name}`))
        .filter((target) => target?.startsWith("socket:")),
    );
  const before = socketsOf("self");
  await using listener = listen({ hostname: "127.0.0.1", port: 0 });
  using _client = await connect(listener);
  using _conn = await listener.accept();
  const opened = socketsOf("self").difference(before);
  await using child = new Deno.Command("cat", {
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  // Before its first answer it may still be a copy of this process, or loading.
  const input = child.stdin.getWriter();
  const output = child.stdout.getReader();
  await input.write(new TextEncoder().encode("started?"));
  await output.read();
  assertEquals(opened.size, 3);
  assertEquals([...socketsOf(child.pid).intersection(opened)], []);
  await input.close();
  await output.cancel();
});

Deno.test("noDelay that a connection does not have is told, and the listener goes on", async () => {
  // A listener that somebody has put around one of TLS, say.
  const socket = new StandIn(() => undefined);
  const { accept } = socket;
  socket.accept = async () => {
    const conn = await accept.call(socket);
    return Object.assign(conn, { setNoDelay: undefined as never });
  };
  const told: unknown[] = [];
  const listener = new ConnListener(socket, {
    noDelay: true,
    onConnectionError: (error) => void told.push(error),
  }, () => {});
  for (let i = 1; i <= 2; i++) {
    using client = await connect(listener);
    assertEquals(await isClosed(client), true);
    assertEquals([told.length, listener.stats.aborted], [i, i]);
  }
  assertEquals(told.every((error) => error instanceof TypeError), true);
  await listener.close();
});
