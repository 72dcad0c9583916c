/** Clients that end before their TLS handshake does. */
import { assertEquals } from "@std/assert";
import { type ConnectionCallback, listen } from "@evconn/listener";
import { serveNode, serveTls } from "@evconn/listener/node";
import { createServer as createHttpServer } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import { createServer } from "node:tls";
import { connect, until } from "../helpers/clients.ts";
import { QuietConsole } from "../helpers/console.ts";
import { runProgram } from "../helpers/program.ts";
import { AUTHORITY, pair } from "../helpers/tls_certificates.ts";
import { connectTls } from "../helpers/tls_clients.ts";

const ONE = pair("one.test");
/** The beginning of a ClientHello. */
const HALF = new Uint8Array([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 42]);
/** Longer than any test waits: nothing here ends by it. */
const handshakeTimeout = 600_000;

const http = () => createHttpServer((_, response) => response.end());

/** All that makes handshakes, as callbacks. */
const CALLBACKS: Record<string, () => ConnectionCallback<Deno.TcpConn>> = {
  "serveTls()": () =>
    serveTls(
      { ...ONE, handshakeTimeout },
      (conn) => conn.read(new Uint8Array(1)),
    ),
  "serveTls() around serveNode()": () =>
    serveTls({ ...ONE, handshakeTimeout }, serveNode(http())),
  "serveNode() of node:tls": () =>
    serveNode(createServer({ ...ONE, handshakeTimeout })),
  "serveNode() of node:https": () =>
    serveNode(createHttpsServer({ ...ONE, handshakeTimeout })),
};

/** What a client does, and no more. */
const CLIENTS: Record<string, (conn: Deno.TcpConn) => Promise<unknown>> = {
  "that closes at once": (conn) => Promise.resolve(conn.close()),
  "that ends its side at once": (conn) => conn.closeWrite(),
  "that closes in the ClientHello": async (conn) => {
    await conn.write(HALF);
    conn.close();
  },
};

for (const [name, callback] of Object.entries(CALLBACKS)) {
  Deno.test(`${name} lets go of a client that ends before the handshake`, async () => {
    using quiet = new QuietConsole();
    await using listener = listen(
      { hostname: "127.0.0.1", port: 0, maxConnections: 1 },
      callback(),
    );
    for (const act of Object.values(CLIENTS)) {
      using stack = new DisposableStack();
      const client = stack.adopt(await connect(listener), (conn) => {
        try {
          conn.close();
        } catch { /* it has done so itself */ }
      });
      await act(client);
      // There is one place only: this one gets it when the other is let go.
      using next = await connectTls(listener);
      await next.handshake();
    }
    await until(() => listener.stats.active === 0);
    assertEquals(listener.stats.connectionErrors, 0);
    assertEquals(quiet.errors, []);
  });
}

Deno.test("serveTls() keeps the process alive when clients close that fill the limit", async () => {
  const node = new URL("../../node.ts", import.meta.url).href;
  const { code, stdout } = await runProgram(`
    import { serveTls } from ${JSON.stringify(node)};
    const options = ${JSON.stringify(ONE)};
    const listener = evconn.listen(
      { hostname: "127.0.0.1", port: 0, maxConnections: 1 },
      serveTls(options, (conn) => conn.write(new Uint8Array(1))),
    );
    const { port } = listener.addr;
    for (let i = 0; i < 3; i++) (await Deno.connect({ port })).close();
    const caCerts = [${JSON.stringify(AUTHORITY)}];
    const conn = await Deno.connect({ port });
    const client = await Deno.startTls(conn, { hostname: "one.test", caCerts });
    console.log(await client.read(new Uint8Array(1)));
    client.close();
    await listener.shutdown();`);
  assertEquals([code, stdout], [0, "1"]);
});
