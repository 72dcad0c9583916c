/** A process that runs out of descriptors: 64 of them, and more clients. */
import { assertEquals, assertLess, assertStringIncludes } from "@std/assert";
import { until } from "../helpers/clients.ts";
import {
  ask,
  cpuSeconds,
  FAULTS,
  Program,
  roundTrip,
} from "../helpers/faults.ts";
import { WAITS_FOR_SIGNALS } from "../helpers/this_deno.ts";

const MOD = import.meta.resolve("../../mod.ts");

/** The clients of a server that has descriptors for some of them only. */
class Crowd implements Disposable {
  readonly conns: Deno.TcpConn[] = [];
  readonly answers: Promise<string>[] = [];
  /** Connections are accepted in order, so this is the first one in the queue. */
  answered = 0;
  #left = 0;

  async come(port: number, count = 120): Promise<void> {
    for (let i = 0; i < count; i++) {
      const conn = await Deno.connect({ hostname: "127.0.0.1", port });
      const answer = roundTrip(conn, `client ${i}`);
      answer.then(() => this.answered++, () => {}); // who awaits it is told
      this.conns.push(conn);
      this.answers.push(answer);
    }
  }

  /** The first one leaves. Says how many ms the next in the queue waits for it. */
  async leave(): Promise<number> {
    const next = this.answered;
    const start = performance.now();
    this.conns[this.#left++]!.close();
    assertEquals(await this.answers[next], `client ${next}`);
    return performance.now() - start;
  }

  /** All leave, each as soon as it has its answer. */
  async leaveAll(): Promise<void> {
    for (; this.#left < this.conns.length; this.#left++) {
      assertEquals(await this.answers[this.#left], `client ${this.#left}`);
      this.conns[this.#left]!.close();
    }
  }

  [Symbol.dispose](): void {
    for (const conn of this.conns) conn[Symbol.dispose]();
  }
}

/** The CPU time in s that a process burns in a second. */
async function burnedInOneSecond(pid: number): Promise<number> {
  const before = cpuSeconds(pid);
  // Not a wait for an event: the second is what is measured.
  await new Promise((resolve) => setTimeout(resolve, 1000));
  return cpuSeconds(pid) - before;
}

/** Waits until eight tries in a row have failed: the next wait is at least 640 ms. */
async function longWaits(server: Program, accepted: number): Promise<void> {
  for (let failures = 0; failures < 8;) {
    const line = await server.lineAfter("error EMFILE after ");
    if (line === `${accepted}`) failures++;
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
      using crowd = new Crowd();
      await crowd.come(port);
      await crowd.answers[0];
      assertLess(await burnedInOneSecond(server.pid), 0.15);
      assertLess(crowd.answered, 64);

      if (told === "hook") {
        // The best of several: a busy machine may be late, but not each time.
        let waited = Infinity;
        for (let tries = 0; tries < 5 && waited >= 100; tries++) {
          await longWaits(server, crowd.answered);
          waited = await crowd.leave();
        }
        assertLess(waited, 100);
      }
      await crowd.leaveAll();
      assertEquals(await ask({ port }, "afterwards"), "afterwards");

      server.kill("SIGTERM");
      assertEquals((await server.status).code, 0);
      if (told === "hook") assertEquals(server.stderr, "");
      else assertStringIncludes(server.stderr, "trying again: EMFILE");
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
    await until(() => server.stderr !== "");
    // Enough for several more tries, and every one of them fails.
    await new Promise((resolve) => setTimeout(resolve, 500));
    server.kill();
    await server.status;
    const warnings = server.stderr.split("\n").filter((line) => line !== "");
    assertEquals(warnings.length, 1, server.stderr);
    for (const conn of conns) conn.close();
  },
});

/** An echo server with one line of its own, which prints its port. */
const echoServer = (listener: string) => `
  import * as evconn from ${JSON.stringify(MOD)};
  const echo = (conn) => conn.readable.pipeTo(conn.writable);
  const listener = ${listener};
  console.log(\`port \${listener.addr.port}\`);`;

const inWorker = (program: string) => {
  const url = `data:application/javascript,${encodeURIComponent(program)}`;
  return `new Worker(${JSON.stringify(url)}, { type: "module" });`;
};

const LISTEN = echoServer("evconn.listen({ port: 0 }, echo)");
const ADOPT = echoServer(
  "new evconn.ConnListener(Deno.listen({ port: 0 }), {}, echo)",
);

const SERVERS: Record<string, string> = {
  "listen()": LISTEN,
  "listen() in a worker": inWorker(LISTEN),
  "a listener around a socket": ADOPT,
};

/** Whether a process listens for SIGUSR1. Linux only. */
function listensForSigusr1(pid: number): boolean {
  const status = Deno.readTextFileSync(`/proc/${pid}/status`);
  const [, mask] = /^SigCgt:\s*(\w+)$/m.exec(status)!;
  return (BigInt(`0x${mask}`) & 1n << 9n) !== 0n;
}

for (const [name, program] of Object.entries(SERVERS)) {
  Deno.test({
    name:
      `${name} outlives clients that take all descriptors right after the start`,
    ignore: Deno.build.os !== "linux" || !WAITS_FOR_SIGNALS,
    async fn() {
      await using process = Program.limited(64, Deno.execPath(), [
        "eval",
        program,
      ]);
      const port = Number(await process.lineAfter("port "));
      using crowd = new Crowd();
      await crowd.come(port, 120);
      await until(() => process.stderr.includes("trying again: EMFILE"));
      // Deno does that half a second after the start, and without descriptors it panics.
      await until(() =>
        listensForSigusr1(process.pid) || process.stderr.includes("panicked")
      );
      await crowd.leaveAll();
      assertEquals(await ask({ port }, "afterwards"), "afterwards");
    },
  });
}
