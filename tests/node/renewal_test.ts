/** A new certificate while the server runs. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { listen } from "@evconn/listener";
import { serveTls } from "@evconn/listener/node";
import { listenParallel } from "@evconn/listener/parallel";
import { createServer } from "node:tls";
import { readAll } from "../helpers/clients.ts";
import { roundTrip } from "../helpers/faults.ts";
import { workerModule } from "../helpers/parallel_service.ts";
import { pair } from "../helpers/tls_certificates.ts";
import { connectTls } from "../helpers/tls_clients.ts";

const HERE = { hostname: "127.0.0.1", port: 0 };
const PAIRS = [pair("one.test"), pair("two.test")] as const;
const HANDSHAKES = 500;
/** Of either certificate. */
const ANY_NAME = { unsafelyDisableHostnameVerification: true };

Deno.test("a renewal by setSecureContext() resets none of 500 handshakes, and keeps who is there", async () => {
  const server = createServer(PAIRS[0]);
  await using listener = listen(
    HERE,
    serveTls(server, (conn) => conn.readable.pipeTo(conn.writable)),
  );
  const held = await Promise.all(
    Array.from({ length: 5 }, () => connectTls(listener)),
  );
  let begun = 0;
  let renewals = 0;
  await Promise.all(Array.from({ length: 8 }, async () => {
    while (begun++ < HANDSHAKES) {
      if (begun % 40 === 0) server.setSecureContext(PAIRS[++renewals % 2]!);
      using client = await connectTls(listener, "one.test", ANY_NAME);
      assertEquals(await roundTrip(client, "hello"), "hello");
    }
  }));
  assertEquals(renewals, 12);
  for (const client of held) {
    assertEquals(await roundTrip(client, "still here"), "still here");
    client.close();
  }
  server.setSecureContext(PAIRS[1]);
  (await connectTls(listener, "two.test")).close();
  await assertRejects(() => connectTls(listener, "one.test"));
  await listener.shutdown();
  assertEquals(listener.stats.connectionErrors, 0);
});

Deno.test("serveTls() serves in workers, with a certificate that setData() renews", async () => {
  await using service = await listenParallel(workerModule("tls"), {
    ...HERE,
    workers: 2,
    data: PAIRS[0],
  });
  for (let i = 0; i < 8; i++) {
    assertEquals(await readAll(await connectTls(service)), "one.test");
  }
  service.setData(PAIRS[1]);
  for (let inARow = 0, tries = 0; inARow < 8; tries++) {
    // A worker may not have heard of it yet.
    const client = await connectTls(service, "two.test").catch(() => undefined);
    inARow = client === undefined ? 0 : inARow + 1;
    assert(tries < 1000);
    if (client) assertEquals(await readAll(client), "two.test");
  }
  await service.shutdown();
});
