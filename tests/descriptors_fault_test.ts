/** A process that runs out of descriptors: 64 of them, and 200 clients. */
import { assertEquals, assertLess, assertStringIncludes } from "@std/assert";
import { ask, cpuSeconds, FAULTS, Program, roundTrip } from "./faults.ts";

/**
 * Brings the server to its limit for two seconds, and checks that it waits for
 * descriptors without spinning, and that everybody is served when they are back.
 */
async function exhaust(port: number, server: Program): Promise<void> {
  const conns: Deno.TcpConn[] = [];
  let answered = 0;
  const answers: Promise<string>[] = [];
  for (let i = 0; i < 200; i++) {
    const conn = await Deno.connect({ hostname: "127.0.0.1", port });
    conns.push(conn);
    answers.push(roundTrip(conn, `client ${i}`).finally(() => answered++));
  }
  await answers[0];

  const burned = cpuSeconds(server.pid);
  // Not a wait for an event: the two seconds are what is measured.
  await new Promise((resolve) => setTimeout(resolve, 2000));
  assertLess(cpuSeconds(server.pid) - burned, 0.3);

  // Connections are accepted in order, so the first in the queue is known.
  const next = answered;
  assertLess(next, 64);
  const start = performance.now();
  assertEquals(await roundTrip(conns[1]!, "still here?"), "still here?");
  const trip = performance.now() - start;
  conns[0]!.close();
  assertEquals(await answers[next], `client ${next}`);
  // The wait before the next try is a second by now: nobody sat it out. On a
  // machine that is busy with other things even one round trip takes its time.
  assertLess(performance.now() - start - trip, 100 + 20 * trip);

  for (const [i, conn] of conns.entries()) {
    assertEquals(await answers[i], `client ${i}`);
    conn[Symbol.dispose]();
  }
}

for (const told of ["hook", "console"]) {
  Deno.test({
    name:
      `listen() waits without spinning when descriptors are gone, and tells the ${told}`,
    ignore: Deno.build.os !== "linux",
    async fn() {
      await using server = Program.deno([FAULTS, "serve", told], 64);
      const port = Number(await server.lineAfter("port "));
      await exhaust(port, server);
      assertEquals(await ask({ port }, "afterwards"), "afterwards");

      server.kill("SIGTERM");
      assertEquals((await server.status).code, 0);
      if (told === "hook") {
        assertEquals(await server.line(), "error EMFILE");
        assertEquals(server.stderr, "");
      } else {
        assertStringIncludes(server.stderr, "trying again: EMFILE");
      }
    },
  });
}

Deno.test({
  name: "listen() without a hook warns once while descriptors stay gone",
  ignore: Deno.build.os !== "linux",
  async fn() {
    await using server = Program.deno([FAULTS, "serve"], 64);
    const port = Number(await server.lineAfter("port "));
    const conns: Deno.TcpConn[] = [];
    for (let i = 0; i < 100; i++) {
      conns.push(await Deno.connect({ hostname: "127.0.0.1", port }));
    }
    // Enough for several tries, and every one of them fails.
    await new Promise((resolve) => setTimeout(resolve, 500));
    server.kill();
    await server.status;
    const warnings = server.stderr.split("\n").filter((line) => line !== "");
    assertEquals(warnings.length, 1, server.stderr);
    for (const conn of conns) conn.close();
  },
});
