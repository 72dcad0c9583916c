/** What ends the wait after a failed accept before its time: a descriptor of the listener's own. */
import { assertEquals } from "@std/assert";
import { Program } from "../helpers/faults.ts";

const MOD = import.meta.resolve("../../mod.ts");

/**
 * A listener that prints how many it has accepted when descriptors are gone. The
 * wait after that takes ten thousand times as long, and is printed when it is over.
 */
const PROGRAM = `
import { LEV_OPT_DEFERRED_ACCEPT, listen } from ${JSON.stringify(MOD)};
const { setTimeout: real } = globalThis;
globalThis.setTimeout = (wake, ms) =>
  real(() => {
    console.log("waited");
    wake();
  }, ms * 10_000);
const listener = listen({
  hostname: "127.0.0.1",
  port: 0,
  flags: LEV_OPT_DEFERRED_ACCEPT,
  onAcceptError: () => console.log(\`full \${listener.stats.accepted}\`),
}, async (conn) => {
  await conn.read(new Uint8Array(10)); // what makes it ready
  await conn.read(new Uint8Array(10));
});
console.log(\`port \${listener.addr.port}\`);`;

/** How many clients come: more than there are descriptors for. */
const CLIENTS = 100;

/** What the client does that has connected first, to free its descriptor. */
const LEAVING: Record<string, (client: Deno.TcpConn) => unknown> = {
  "waiting for its first byte": (client) => client.close(),
  "active": async (client) => {
    await client.write(new Uint8Array(1));
    client.close();
  },
};

for (const [state, leave] of Object.entries(LEAVING)) {
  Deno.test({
    name:
      `listen() ends the wait for descriptors when a connection ends that is ${state}`,
    ignore: Deno.build.os !== "linux",
    async fn() {
      await using server = Program.limited(64, Deno.execPath(), [
        "eval",
        PROGRAM,
      ]);
      const port = Number(await server.lineAfter("port "));
      const clients: Deno.TcpConn[] = [];
      for (let i = 0; i < CLIENTS; i++) {
        clients.push(await Deno.connect({ hostname: "127.0.0.1", port }));
      }
      const accepted = Number(await server.lineAfter("full "));
      await leave(clients[0]!);
      // Its descriptor goes to the next in the queue, and there is none again.
      assertEquals(await server.line(), `full ${accepted + 1}`);
      for (const client of clients.slice(1)) client.close();
    },
  });
}
