/** What is pending on a connection whose TLS handshake is open. */
import { assert, assertEquals } from "@std/assert";
import { listenTls } from "@evconn/listener";
import { CERTIFICATE } from "../helpers/certificate.ts";
import { connect, until } from "../helpers/clients.ts";
import { CLOSE_ENDS_WRITES } from "../helpers/this_deno.ts";

const TLS = { hostname: "127.0.0.1", port: 0, ...CERTIFICATE };

type Verb = "read" | "write" | "closeWrite" | "handshake";
const VERBS: Record<Verb, (conn: Deno.TlsConn) => Promise<unknown>> = {
  read: (conn) => conn.read(new Uint8Array(1)),
  write: (conn) => conn.write(new Uint8Array(1)),
  closeWrite: (conn) => conn.closeWrite(),
  handshake: (conn) => conn.handshake(),
};

for (const [verb, begin] of Object.entries(VERBS)) {
  const name =
    `${verb}() of a connection whose client never shakes hands ends by idleTimeout`;
  const ignore = verb !== "read" && !CLOSE_ENDS_WRITES;
  Deno.test(name, { ignore }, async () => {
    const ended = Promise.withResolvers<unknown>();
    await using listener = listenTls({ ...TLS, idleTimeout: 50 }, (conn) => {
      const outcome = begin(conn);
      outcome.then(ended.resolve, ended.resolve);
      return outcome;
    });
    using client = await connect(listener);
    assert(await ended.promise instanceof Deno.errors.TimedOut);
    await until(() => listener.stats.active === 0);
    assertEquals([listener.stats.timedOut, listener.stats.connectionErrors], [
      1,
      0,
    ]);
    client.close();
  });
}

Deno.test("a callback that returns without a look at its connection begins no handshake", async () => {
  const handshakes: string[] = [];
  await using listener = listenTls(TLS, (conn) => {
    const { handshake } = conn;
    conn.handshake = () => {
      handshakes.push("begun");
      return handshake.call(conn);
    };
    return Promise.resolve();
  });
  using client = await connect(listener);
  await until(() => listener.stats.accepted === 1);
  await until(() => listener.stats.active === 0);
  assertEquals(handshakes, []);
  client.close();
});
