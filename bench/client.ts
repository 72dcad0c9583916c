/**
 * The client where redis-benchmark is missing, and for what it cannot do:
 * hold connections open, and echo more than a segment.
 *
 * ```sh
 * client.ts connect PORT COUNT [V]  # COUNT connections, a PING on each: per second;
 *                                   # after a PROXY header of version V, 1 or 2
 * client.ts ping PORT COUNT         # COUNT PINGs on open connections: per second
 * client.ts http PORT COUNT         # COUNT GETs on open connections: per second
 * client.ts echo PORT COUNT SIZE    # COUNT echoes of SIZE bytes: per second
 * client.ts handshake PORT COUNT      # COUNT TLS connections, a PING on each: per second
 * client.ts tls-stream PORT COUNT SIZE # the same over TLS, without waiting for an echo
 * client.ts hold PORT COUNT         # opens COUNT, prints a line, waits for its end
 * ```
 *
 * @module
 */

const [mode, ...numbers] = Deno.args as [string, ...string[]];
const [port, count, size = 0] = numbers.map(Number) as [
  number,
  number,
  number?,
];
const CLIENTS = ["echo", "tls-stream"].includes(mode) ? 4 : 50;
const PING = new TextEncoder().encode("*1\r\n$4\r\nPING\r\n");
const GET = new TextEncoder().encode("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
const CERTIFICATE = new URL(
  "../tests/testdata/localhost.crt",
  import.meta.url,
);
/** What a proxy sends first, by the version of the protocol. */
const HEADERS: Record<number, Uint8Array> = {
  0: new Uint8Array(),
  1: new TextEncoder().encode("PROXY TCP4 192.0.2.1 192.0.2.2 50000 443\r\n"),
  2: new Uint8Array([
    ...new TextEncoder().encode("\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"),
    ...[192, 0, 2, 1, 192, 0, 2, 2, 0xc3, 0x50, 1, 0xbb],
  ]),
};

const connect = () => Deno.connect({ hostname: "127.0.0.1", port });

/** A TLS client that sends small messages at once. */
async function connectTls(): Promise<Deno.TlsConn> {
  const conn = await connect();
  conn.setNoDelay();
  const tls = await Deno.startTls(conn, {
    hostname: "localhost",
    caCerts: [Deno.readTextFileSync(CERTIFICATE)],
  });
  await tls.handshake();
  return tls;
}

/** Sends a message and takes the answer, of a length that is known. */
async function ask(conn: Deno.Conn, message: Uint8Array, answer: number) {
  const buffer = new Uint8Array(answer);
  const sent = write(conn, message);
  for (let got = 0; got < answer;) {
    const read = await conn.read(buffer);
    if (read === null) throw new Error("The server has closed a connection");
    got += read;
  }
  await sent;
}

async function write(conn: Deno.Conn, bytes: Uint8Array): Promise<void> {
  for (let sent = 0; sent < bytes.length;) {
    sent += await conn.write(bytes.subarray(sent));
  }
}

/** A client that keeps its connection, and reads each answer to the NUL that ends it. */
async function browser() {
  const conn = await connect();
  conn.setNoDelay();
  const buffer = new Uint8Array(1024);
  return async () => {
    await conn.write(GET);
    for (let length = 0; buffer[length - 1] !== 0;) {
      const read = await conn.read(buffer);
      if (read === null) throw new Error("The server has closed a connection");
      length = read;
    }
  };
}

/** Does something `count` times, by so many clients at a time. */
async function rate(each: () => Promise<() => Promise<void>>): Promise<number> {
  let left = count;
  const clients = await Promise.all(Array.from({ length: CLIENTS }, each));
  const start = performance.now();
  await Promise.all(clients.map(async (again) => {
    while (left-- > 0) await again();
  }));
  return count / (performance.now() - start) * 1000;
}

/** A client that keeps its connection. */
function keeping(message: Uint8Array, answer: number) {
  return async () => {
    const conn = await connect();
    conn.setNoDelay();
    return () => ask(conn, message, answer);
  };
}

/** Sends messages over TLS without waiting for their echoes, which it reads. */
async function stream(message: Uint8Array): Promise<number> {
  const conns = await Promise.all(Array.from({ length: CLIENTS }, connectTls));
  const each = Math.ceil(count / CLIENTS);
  const start = performance.now();
  await Promise.all(conns.map(async (conn) => {
    const sent = (async () => {
      for (let i = 0; i < each; i++) await write(conn, message);
    })();
    const buffer = new Uint8Array(64 * 1024);
    for (let left = each * message.length; left > 0;) {
      left -= await conn.read(buffer) ?? Infinity;
    }
    await sent;
  }));
  return each * CLIENTS / (performance.now() - start) * 1000;
}

async function hold(): Promise<string> {
  const open = async () => {
    const conn = await connect();
    await ask(conn, PING, 7);
    return conn;
  };
  const conns: Deno.Conn[] = [];
  while (conns.length < count) {
    const next = Math.min(CLIENTS, count - conns.length);
    conns.push(...await Promise.all(Array.from({ length: next }, open)));
  }
  return `${conns.length} connections are open`;
}

switch (mode) {
  case "connect": {
    const first = new Uint8Array([...HEADERS[size]!, ...PING]);
    console.log(
      await rate(() =>
        Promise.resolve(async () => {
          using conn = await connect();
          await ask(conn, first, 7);
        })
      ),
    );
    break;
  }
  case "ping":
    console.log(await rate(keeping(PING, 7)));
    break;
  case "http":
    console.log(await rate(browser));
    break;
  case "echo":
    console.log(await rate(keeping(new Uint8Array(size).fill(1), size)));
    break;
  case "handshake":
    console.log(
      await rate(() =>
        Promise.resolve(async () => {
          using conn = await connectTls();
          await ask(conn, PING, PING.length);
        })
      ),
    );
    break;
  case "tls-stream":
    console.log(await stream(new Uint8Array(size).fill(1)));
    break;
  case "hold":
    console.log(await hold());
    await Deno.stdin.read(new Uint8Array(1));
}
Deno.exit();
