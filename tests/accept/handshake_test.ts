/** listenTls() with handshakeTimeout: a connection is delivered after its handshake. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { type ListenerOptions, listenTls } from "@evconn/listener";
import { CERTIFICATE } from "../helpers/certificate.ts";
import {
  connect,
  connectAll,
  isClosed,
  readAll,
  until,
} from "../helpers/clients.ts";
import { roundTrip, writeAll } from "../helpers/faults.ts";
import { runProgram } from "../helpers/program.ts";

const HERE = { hostname: "127.0.0.1", port: 0, ...CERTIFICATE };
/** So long that it plays no part. */
const LONG = 600_000;
/** The beginning of a TLS client's first message, which promises more than it has. */
const HALF_A_HELLO = Uint8Array.fromHex("1603010200010001fc03032a");

/** A listener, and what its callback was called with. */
function keeping(options: ListenerOptions<Deno.TlsConn>) {
  const conns: Deno.TlsConn[] = [];
  const told: unknown[] = [];
  const listener = listenTls({
    ...HERE,
    onConnectionError: (error) => void told.push(error),
    onAcceptError: (error) => void told.push(error),
    ...options,
  }, (conn) => void conns.push(conn));
  return { listener, conns, told };
}

const secure = (conn: Deno.TcpConn, caCerts = [CERTIFICATE.cert]) =>
  Deno.startTls(conn, { hostname: "localhost", caCerts });

Deno.test("listenTls() calls the callback after the handshake where handshakeTimeout is given", async () => {
  const { listener, conns } = keeping({ handshakeTimeout: LONG });
  const plain = await connect(listener);
  await until(() => listener.stats.waiting === 1);
  assertEquals(conns, []);
  using client = await secure(plain);
  await client.handshake();
  await until(() => conns.length === 1);
  const { accepted, waiting, aborted } = listener.stats;
  assertEquals([accepted, waiting, aborted], [1, 0, 0]);
  using conn = conns[0]!;
  await conn.handshake(); // it is done: nothing is waited for
  await writeAll(conn, new TextEncoder().encode("hello"));
  conn.close();
  assertEquals(await readAll(client), "hello");
  await listener.close();
});

Deno.test("listenTls() delivers before the handshake where handshakeTimeout is not given", async () => {
  const { listener, conns } = keeping({});
  using plain = await connect(listener);
  await until(() => conns.length === 1);
  await listener.close();
  plain.close();
  for (const conn of conns) conn.close();
});

Deno.test("listenTls() with handshakeTimeout drops clients that speak plain text", async () => {
  const { listener, conns, told } = keeping({ handshakeTimeout: LONG });
  using plain = await connect(listener);
  await writeAll(plain, new TextEncoder().encode("GET / HTTP/1.0\r\n\r\n"));
  await until(() => listener.stats.aborted === 1);
  assertEquals([conns, told, listener.stats.waiting], [[], [], 0]);
  await listener.close();
});

Deno.test("listenTls() with handshakeTimeout drops clients that do not trust it", async () => {
  const { listener, conns, told } = keeping({ handshakeTimeout: LONG });
  using client = await secure(await connect(listener), []);
  await assertRejects(() => client.handshake(), Deno.errors.InvalidData);
  await until(() => listener.stats.aborted === 1);
  assertEquals([conns, told, listener.stats.waiting], [[], [], 0]);
  await listener.close();
});

Deno.test("listenTls() with handshakeTimeout drops clients that leave in the middle of it", async () => {
  const { listener, conns, told } = keeping({ handshakeTimeout: LONG });
  const [half, silent] = await connectAll(listener, 2);
  await writeAll(half!, HALF_A_HELLO);
  await until(() => listener.stats.waiting === 2);
  half!.close();
  silent!.close();
  await until(() => listener.stats.aborted === 2);
  assertEquals([conns, told, listener.stats.waiting], [[], [], 0]);
  await listener.close();
});

Deno.test("listenTls() drops a client that is not done after handshakeTimeout", async () => {
  const { listener, conns, told } = keeping({
    handshakeTimeout: 20,
    maxConnections: 2,
  });
  const slow = await connectAll(listener, 3);
  await writeAll(slow[1]!, HALF_A_HELLO);
  // The third can come in only when the place of another is free.
  await until(() => listener.stats.aborted === 3);
  assertEquals([conns, told, listener.stats.waiting], [[], [], 0]);
  assertEquals(listener.holds, []);
  for (const client of slow) client.close();
  await listener.close();
});

Deno.test("listenTls() with handshakeTimeout lets a slow client delay nobody", async () => {
  await using listener = listenTls(
    { ...HERE, handshakeTimeout: LONG },
    (conn) => conn.readable.pipeTo(conn.writable),
  );
  const slow = await connectAll(listener, 40);
  await writeAll(slow[0]!, HALF_A_HELLO);
  using client = await secure(await connect(listener));
  assertEquals(await roundTrip(client, "hello"), "hello");
  assertEquals(listener.stats.waiting, 40);
  const late = await secure(slow[39]!); // it is only late
  assertEquals(await roundTrip(late, "late"), "late");
  for (const conn of [...slow.slice(0, 39), late]) conn.close();
});

Deno.test("close() ends handshakes that are under way", async () => {
  const { listener, conns } = keeping({ handshakeTimeout: LONG });
  using client = await connect(listener);
  await writeAll(client, HALF_A_HELLO);
  await until(() => listener.stats.waiting === 1);
  await listener.close();
  assertEquals([conns, listener.stats.waiting], [[], 0]);
});

Deno.test("shutdown() does not wait for handshakes that do not go on", async () => {
  const { listener } = keeping({ handshakeTimeout: LONG });
  using client = await connect(listener);
  await writeAll(client, HALF_A_HELLO);
  await until(() => listener.stats.waiting === 1);
  assertEquals(await listener.shutdown(), { completed: 0, aborted: 0 });
});

Deno.test("accept() resolves after the handshake where handshakeTimeout is given", async () => {
  await using listener = listenTls({ ...HERE, handshakeTimeout: LONG });
  const slow = await connect(listener);
  const accepting = listener.accept();
  using client = await secure(await connect(listener));
  const handshake = client.handshake();
  using conn = await accepting;
  await handshake;
  assertEquals(conn.remoteAddr.port, client.localAddr.port);
  slow.close();
  conn.close();
  assert(await isClosed(client));
});

Deno.test("listenTls() with handshakeTimeout prints nothing about handshakes that fail", async () => {
  const outcome = await runProgram(`
    const certificate = ${JSON.stringify(CERTIFICATE)};
    const listener = evconn.listenTls({
      hostname: "127.0.0.1",
      port: 0,
      handshakeTimeout: 50,
      ...certificate,
    }, async () => { throw new Error("not to be called"); });
    const { port } = listener.addr;
    const clients = [];
    for (let i = 0; i < 4; i++) clients.push(await Deno.connect({ port }));
    const [plain, half, silent, stranger] = clients;
    await plain.write(new TextEncoder().encode("GET / HTTP/1.0\\r\\n\\r\\n"));
    await half.write(new Uint8Array(${JSON.stringify([...HALF_A_HELLO])}));
    const tls = await Deno.startTls(stranger, { hostname: "localhost" });
    await tls.handshake().catch(() => {});
    while (listener.stats.aborted < 4) await new Promise((next) => setTimeout(next, 1));
    const { accepted, aborted, connectionErrors } = listener.stats;
    console.log(accepted, aborted, connectionErrors);
    for (const client of [plain, half, silent, tls]) client.close();
    await listener.close();`);
  assertEquals(outcome, { code: 0, stdout: "4 4 0", stderr: "" });
});
