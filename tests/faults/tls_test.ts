/** TLS clients that do not speak TLS, or stop speaking it. */
import { type ConnListener, listenTls } from "@evconn/listener";
import { assertEquals, assertGreater } from "@std/assert";
import { until } from "../helpers/clients.ts";
import { echo, roundTrip } from "../helpers/faults.ts";
import { missing } from "../helpers/missing.ts";

const bind = { hostname: "127.0.0.1", port: 0 };
const ignore = missing("openssl");

/** A certificate for localhost that is made for this test alone. */
async function makeCertificate(): Promise<{ cert: string; key: string }> {
  const dir = await Deno.makeTempDir();
  try {
    const { success, stderr } = await new Deno.Command("openssl", {
      args: "req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem"
        .concat(" -days 2 -subj /CN=localhost")
        .concat(" -addext subjectAltName=DNS:localhost")
        .concat(" -addext basicConstraints=critical,CA:FALSE").split(" "),
      cwd: dir,
    }).output();
    if (!success) throw new Error(new TextDecoder().decode(stderr));
    return {
      cert: await Deno.readTextFile(`${dir}/cert.pem`),
      key: await Deno.readTextFile(`${dir}/key.pem`),
    };
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** Asks over TLS, as a client should. */
async function askTls(
  listener: ConnListener<Deno.TlsConn>,
  cert: string,
  text: string,
): Promise<string> {
  using conn = await Deno.connectTls({
    hostname: "localhost",
    port: listener.addr.port,
    caCerts: [cert],
  });
  return await roundTrip(conn, text);
}

/** The beginning of a TLS client's first message, which promises more than it has. */
const HALF_A_HELLO = new Uint8Array([
  0x16,
  3,
  1,
  2,
  0,
  1,
  0,
  1,
  0xfc,
  3,
  3,
  42,
]);

Deno.test({
  name: "listenTls() is not held up by clients that speak plain text",
  ignore,
  async fn() {
    const { cert, key } = await makeCertificate();
    const errors: unknown[] = [];
    await using listener = listenTls({
      ...bind,
      cert,
      key,
      onConnectionError: (error) => errors.push(error),
    }, echo);
    for (let i = 0; i < 20; i++) {
      using plain = await Deno.connect({ ...bind, port: listener.addr.port });
      await plain.write(new TextEncoder().encode("GET / HTTP/1.0\r\n\r\n"));
      // What comes back is TLS's word for "what was that?", and the end.
      await new Response(plain.readable).bytes().catch(() => {});
    }
    await until(() => listener.stats.aborted === 20, "all have failed");
    assertEquals([errors, listener.stats.connectionErrors], [[], 0]);
    assertEquals(listener.stats.acceptErrors, 0);
    assertEquals(await askTls(listener, cert, "afterwards"), "afterwards");
  },
});

Deno.test({
  name:
    "listenTls() is not held up by clients that stop in the middle of the handshake",
  ignore,
  async fn() {
    const { cert, key } = await makeCertificate();
    await using listener = listenTls({ ...bind, cert, key }, echo);
    const stalled: Deno.TcpConn[] = [];
    for (let i = 0; i < 40; i++) {
      const conn = await Deno.connect({ ...bind, port: listener.addr.port });
      if (i % 2) await conn.write(HALF_A_HELLO);
      stalled.push(conn);
    }
    assertEquals(await askTls(listener, cert, "meanwhile"), "meanwhile");
    assertGreater(listener.stats.active, 39);
    for (const conn of stalled) conn.close();
    await until(() => listener.stats.active === 0, "all have ended");
    assertEquals(await askTls(listener, cert, "afterwards"), "afterwards");
  },
});

Deno.test({
  name: "shutdown() ends TLS connections whose handshake never ends",
  ignore,
  async fn() {
    const { cert, key } = await makeCertificate();
    const listener = listenTls({ ...bind, cert, key }, echo);
    using stalled = await Deno.connect({ ...bind, port: listener.addr.port });
    await stalled.write(HALF_A_HELLO);
    await until(() => listener.stats.active === 1, "it is delivered");
    const result = await listener.shutdown({ timeout: 10 });
    assertEquals(result, { completed: 0, aborted: 1 });
    await listener.finished;
  },
});
