/** The proxy, before a real Redis that comes and goes, and driven by nc. */
import {
  assert,
  assertEquals,
  assertGreaterOrEqual,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import { freePort } from "../helpers/free_port.ts";
import { Process, run, startExample } from "../helpers/example_process.ts";
import { HAS_SIGNALS } from "../helpers/machine.ts";
import { missing } from "../helpers/missing.ts";
import { NC_HALF_CLOSES } from "../helpers/nc.ts";

const NO_REDIS = missing("redis-server", "redis-cli", "redis-benchmark");
/** So many writes each of four clients makes. */
const EACH = 2000;
const NO_NC = missing("nc");

/**
 * Starts Redis on a port, with what `folder` has: the one that ended there has saved
 * everything that it answered. (With an append-only file it would answer LOADING for
 * a moment.)
 */
async function startRedis(port: number, folder: string): Promise<Process> {
  const redis = new Process("redis-server", [
    ...["--port", `${port}`, "--bind", "127.0.0.1", "--dir", folder],
    ...["--save", "3600 1", "--appendonly", "no"],
  ]);
  await redis.line(/Ready to accept connections/);
  return redis;
}

/** What the clients have counted up to. */
async function counter(port: string): Promise<number> {
  const { stdout } = await run("redis-cli", ["-p", port, "GET", "n"]);
  return Number(stdout);
}

/** Counts up until it has been answered often enough; what was in flight may fail. */
async function countUp(port: string): Promise<number[]> {
  const answers: number[] = [];
  while (answers.length < EACH) {
    const { stdout, stderr } = await run("redis-cli", [
      ...["-p", port, "-r", `${EACH - answers.length}`, "INCR", "n"],
    ]);
    assertMatch(stderr, /^(Error: (Server closed|Connection reset).*\n)?$/);
    answers.push(...stdout.split("\n").filter((line) => line).map(Number));
  }
  return answers;
}

async function stop(redis: Process): Promise<void> {
  redis.kill("SIGTERM");
  assertEquals((await redis.output()).code, 0);
}

/** A target that says who it is and then sends back what comes. */
function startTarget(name: string): Deno.TcpListener & AsyncDisposable {
  const socket = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const served: Promise<void>[] = [];
  const running = (async () => {
    for await (const conn of socket) {
      served.push((async () => {
        await conn.write(new TextEncoder().encode(name));
        await conn.readable.pipeTo(conn.writable);
      })());
    }
  })();
  return Object.assign(socket, {
    async [Symbol.asyncDispose]() {
      socket.close();
      await running;
      await Promise.allSettled(served);
    },
  });
}

function address(socket: Deno.TcpListener): string {
  return `127.0.0.1:${socket.addr.port}`;
}

/** How many connections the kernel holds for a listener that has not accepted them. */
async function queued(port: number): Promise<number> {
  const { stdout } = await run("ss", ["-Hltn", `sport = :${port}`]);
  return Number(stdout.trim().split(/\s+/)[1]);
}

async function connect(port: number): Promise<[Deno.TcpConn, string]> {
  const conn = await Deno.connect({ hostname: "127.0.0.1", port });
  return [conn, await readText(conn)];
}

async function readText(conn: Deno.Conn): Promise<string> {
  const buffer = new Uint8Array(100);
  const length = await conn.read(buffer);
  return new TextDecoder().decode(buffer.subarray(0, length ?? 0));
}

Deno.test({
  name:
    "tcp_proxy keeps redis-benchmark waiting while Redis is away, and loses nothing",
  ignore: NO_REDIS,
  async fn() {
    const folder = await Deno.makeTempDir();
    const redisPort = freePort();
    await using proxy = startExample("tcp_proxy", [
      "0",
      `127.0.0.1:${redisPort}`,
    ]);
    const port = `${await proxy.port()}`;
    const benchmark = () =>
      run("redis-benchmark", [
        ...["-p", port, "-n", "1000", "-c", "20", "-k", "0", "--csv"],
        ...["INCR", "n"],
      ]);
    {
      await using redis = await startRedis(redisPort, folder);
      assertEquals((await benchmark()).code, 0);
      await stop(redis);
    }
    const waiting = benchmark();
    await proxy.line(/No target answers/);
    await using redis = await startRedis(redisPort, folder);
    const { code, stderr } = await waiting;
    assertEquals(code, 0, stderr);
    await proxy.line(/A target answers again/);
    assertEquals(await counter(port), 2000);
    await stop(redis);
    await Deno.remove(folder, { recursive: true });
  },
});

Deno.test({
  name:
    "tcp_proxy loses only what is in flight when Redis goes away under load",
  ignore: NO_REDIS,
  async fn() {
    const folder = await Deno.makeTempDir();
    const redisPort = freePort();
    await using proxy = startExample("tcp_proxy", [
      "0",
      `127.0.0.1:${redisPort}`,
    ]);
    const port = `${await proxy.port()}`;
    let clients, benchmark;
    {
      await using redis = await startRedis(redisPort, folder);
      clients = Promise.all(Array.from({ length: 4 }, () => countUp(port)));
      benchmark = run("redis-benchmark", [
        ...["-p", port, "-n", "20000", "-c", "20", "-k", "0", "-q"],
        ...["INCR", "other"],
      ]);
      let count;
      do count = await counter(`${redisPort}`); while (!(count > 500));
      await stop(redis);
    }
    await proxy.line(/No target answers/);
    await using redis = await startRedis(redisPort, folder);
    const { stderr } = await benchmark;
    assert(!/refused/i.test(stderr), stderr);
    const answers = (await clients).flat();
    assert(answers.every(Number.isInteger));
    assertEquals(new Set(answers).size, answers.length);
    // Writes that were done and not answered were in flight.
    assertGreaterOrEqual(await counter(port), answers.length);
    await stop(redis);
    await Deno.remove(folder, { recursive: true });
  },
});

Deno.test({
  name:
    "tcp_proxy leaves clients in the kernel's queue while no target answers",
  ignore: missing("ss"),
  async fn() {
    const targetPort = freePort();
    await using proxy = startExample("tcp_proxy", [
      "0",
      `127.0.0.1:${targetPort}`,
    ]);
    const port = await proxy.port();
    using _first = await Deno.connect({ hostname: "127.0.0.1", port });
    await proxy.line(/No target answers/);
    await using clients = new AsyncDisposableStack();
    for (let i = 0; i < 5; i++) {
      clients.use(await Deno.connect({ hostname: "127.0.0.1", port }));
      // All but the one for which an accept was in flight.
      for (let j = 0; j < 3; j++) {
        assertGreaterOrEqual(await queued(port), i);
      }
    }
    using target = Deno.listen({ hostname: "127.0.0.1", port: targetPort });
    await proxy.line(/A target answers again/);
    // The probe, the first client and those that waited.
    for (let i = 0; i < 7; i++) (await target.accept()).close();
    assertEquals(await queued(port), 0);
  },
});

Deno.test({
  name: "tcp_proxy passes a half-close on, in both directions",
  ignore: NO_NC,
  async fn() {
    using target = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    await using proxy = startExample("tcp_proxy", ["0", address(target)]);
    const port = await proxy.port();
    const counted = (async () => {
      using conn = await target.accept();
      let length = 0;
      const buffer = new Uint8Array(65536);
      for (let n; (n = await conn.read(buffer)) !== null;) length += n;
      await conn.write(new TextEncoder().encode(`${length} bytes`));
    })();
    const sent = "x".repeat(5_000_000);
    const { stdout } = await run(
      "nc",
      [...NC_HALF_CLOSES, "127.0.0.1", `${port}`],
      sent,
    );
    await counted;
    assertEquals(stdout, "5000000 bytes");
  },
});

Deno.test("tcp_proxy takes targets in turn and passes over those that do not answer", async () => {
  await using a = startTarget("A");
  await using b = startTarget("B");
  const dead = `127.0.0.1:${freePort()}`;
  await using proxy = startExample("tcp_proxy", [
    "0",
    address(a),
    dead,
    address(b),
  ]);
  const port = await proxy.port();
  let answers = "";
  for (let i = 0; i < 6; i++) {
    const [conn, name] = await connect(port);
    conn.close();
    answers += name;
  }
  assertEquals(answers, "ABBABB");
});

Deno.test(
  "tcp_proxy aims at new targets when the file changes or SIGHUP comes",
  {
    ignore: !HAS_SIGNALS,
  },
  async () => {
    await using a = startTarget("A");
    await using b = startTarget("B");
    const folder = await Deno.makeTempDir();
    const file = `${folder}/targets`;
    await Deno.writeTextFile(file, `${address(a)}\n`);
    await using proxy = startExample("tcp_proxy", ["0", "--targets", file], [
      "--allow-net",
      `--allow-read=${folder}`,
    ]);
    const port = await proxy.port();
    const [running, first] = await connect(port);
    assertEquals(first, "A");
    await Deno.writeTextFile(`${file}.new`, `\n${address(b)}\n`);
    await Deno.rename(`${file}.new`, file);
    assertEquals(
      await proxy.line(/Forwarding to/),
      `Forwarding to ${address(b)}`,
    );
    const [conn, second] = await connect(port);
    assertEquals(second, "B");
    conn.close();
    await running.write(new TextEncoder().encode("still here"));
    assertEquals(await readText(running), "still here");
    running.close();
    proxy.kill("SIGHUP");
    await proxy.line(/Forwarding to/);
    await Deno.writeTextFile(file, "nonsense\n");
    proxy.kill("SIGHUP");
    await proxy.errorLine(/Cannot use .*: Invalid address: "nonsense"/);
    const [again, third] = await connect(port);
    assertEquals(third, "B");
    again.close();
    proxy.kill("SIGTERM");
    assertEquals((await proxy.output()).code, 0);
    await Deno.remove(folder, { recursive: true });
  },
);

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  Deno.test(
    `tcp_proxy lets connections finish after ${signal}, and ends them after another`,
    {
      ignore: !HAS_SIGNALS,
    },
    async () => {
      await using target = startTarget("A");
      await using proxy = startExample("tcp_proxy", ["0", address(target)]);
      const port = await proxy.port();
      const [finishing] = await connect(port);
      const [staying] = await connect(port);
      proxy.kill(signal);
      // Not at once: the signal has to arrive.
      for (;;) {
        try {
          (await Deno.connect({ hostname: "127.0.0.1", port })).close();
        } catch {
          break;
        }
      }
      await finishing.write(new TextEncoder().encode("more"));
      assertEquals(await readText(finishing), "more");
      finishing.close();
      // The same one again could be the same key press.
      proxy.kill(signal === "SIGINT" ? "SIGTERM" : "SIGINT");
      assertEquals(await readText(staying), "");
      staying.close();
      assertEquals((await proxy.output()).code, 0);
    },
  );
}

Deno.test("tcp_proxy ends while no target answers", {
  ignore: !HAS_SIGNALS,
}, async () => {
  const dead = `127.0.0.1:${freePort()}`;
  await using proxy = startExample("tcp_proxy", ["0", dead]);
  using conn = await Deno.connect({
    hostname: "127.0.0.1",
    port: await proxy.port(),
  });
  await proxy.line(/No target answers/);
  proxy.kill("SIGTERM");
  assertEquals((await proxy.output()).code, 0);
  assertEquals(await conn.read(new Uint8Array(1)), null);
});

Deno.test("tcp_proxy says what is wrong with its targets", async () => {
  for (
    const [args, message] of [
      [["0"], "No target is given"],
      [["0", "127.0.0.1:65536"], 'Invalid address: "127.0.0.1:65536"'],
      [["0", "--targets", "/nosuch"], "/nosuch"],
      [
        ["0", "127.0.0.1:1", "--targets", "x"],
        "Give either targets or --targets",
      ],
      [
        ["0", "127.0.0.1:1", "--targets="],
        "Give either targets or --targets",
      ],
      [["--port", "0", "127.0.0.1:1"], "Unknown option: --port"],
    ] as const
  ) {
    await using proxy = startExample("tcp_proxy", [...args], [
      "--allow-net",
      "--allow-read",
    ]);
    const { code, stderr } = await proxy.output();
    assertEquals(code, 1);
    assertStringIncludes(stderr, message);
  }
});
