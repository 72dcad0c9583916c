/** The small Redis, driven by the clients of the real one and compared with it. */
import {
  assert,
  assertEquals,
  assertGreater,
  assertLess,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import { freePort } from "../helpers/free_port.ts";
import { createClient } from "npm:redis@^5";
import { Process, run, startExample } from "../helpers/example_process.ts";
import { missing } from "../helpers/missing.ts";

const NO_CLI = missing("redis-cli");
const NO_BENCHMARK = missing("redis-benchmark");
const NO_SERVER = missing("redis-server");

interface Server extends AsyncDisposable {
  process: Process;
  port: number;
}

async function start(): Promise<Server> {
  const process = startExample("redis_server", ["--port", "0"]);
  const port = await process.port();
  return {
    process,
    port,
    [Symbol.asyncDispose]: () => process[Symbol.asyncDispose](),
  };
}

async function startRealRedis(): Promise<Server> {
  const port = freePort();
  const process = new Process("redis-server", [
    ...["--port", `${port}`, "--bind", "127.0.0.1", "--save", ""],
  ]);
  await process.line(/Ready to accept connections/);
  return {
    process,
    port,
    [Symbol.asyncDispose]: () => process[Symbol.asyncDispose](),
  };
}

/** One character for each byte. */
function latin1(bytes: Uint8Array): string {
  return new TextDecoder("latin1").decode(bytes);
}

function bytes(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

async function send(conn: Deno.Conn, data: Uint8Array): Promise<void> {
  for (let sent = 0; sent < data.length;) {
    sent += await conn.write(data.subarray(sent));
  }
}

/** Sends this and returns all that comes until the server closes. */
async function exchange(port: number, request: string): Promise<string> {
  using conn = await Deno.connect({ hostname: "127.0.0.1", port });
  await send(conn, bytes(request));
  return latin1(await new Response(conn.readable).bytes());
}

function resp(...args: string[]): string {
  return `*${args.length}\r\n` +
    args.map((arg) => `$${arg.length}\r\n${arg}\r\n`).join("");
}

/** Bytes that the process has in memory. */
function memory(pid: number): number {
  const status = Deno.readTextFileSync(`/proc/${pid}/status`);
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)![1]) * 1024;
}

Deno.test({
  name: "redis_server answers as Redis does, byte for byte",
  ignore: NO_SERVER,
  async fn() {
    await using real = await startRealRedis();
    await using server = await start();
    // deno-fmt-ignore
    const commands = [
      ["PING"], ["ping", "hello"], ["PING", "a", "b"],
      ["ECHO", "\x00\xff\r\n"], ["ECHO"], ["ECHO", ""],
      ["SET", "a", "1"], ["GET", "a"], ["GET", "none"], ["GET"],
      ["SET", "a", "2", "NX"], ["SET", "a", "2", "xx"], ["GET", "a"],
      ["SET", "new", "2", "XX"], ["SET", "new", "3", "NX", "EX", "100"],
      ["TTL", "new"], ["TTL", "a"], ["TTL", "none"],
      ["SET", "a", "1", "NX", "XX"], ["SET", "a", "1", "EX"],
      ["SET", "a", "1", "EX", "0"], ["SET", "a", "1", "PX", "-1"],
      ["SET", "a", "1", "EX", "x"], ["SET", "a", "1", "EX", "9223372036854775807"],
      ["SET", "a", "1", "EX", "1", "PX", "1"], ["SET", "a", "1", "EX", "x", "BAD"],
      ["SET", "a", "1", "BAD"], ["SET", "a"], ["SET", "b", "1", "PX", "5000", "PX", "100000"],
      ["TTL", "b"], ["SET", "b", "1", "EX", "9007199254740"], ["TTL", "b"],
      ["EXPIRE", "b", "9223372036854775"], ["PEXPIRE", "b", "-9223372036854775808"], ["DEL", "b"],
      ["INCR", "a"], ["INCR", "counter"], ["DECR", "counter"], ["DECR", "counter"],
      ["SET", "max", "9223372036854775807"], ["INCR", "max"],
      ["SET", "min", "-9223372036854775808"], ["DECR", "min"],
      ["SET", "text", "abc"], ["INCR", "text"], ["SET", "zeros", "007"], ["INCR", "zeros"],
      ["SET", "space", " 1"], ["INCR", "space"], ["INCR"],
      ["EXPIRE", "a", "100"], ["TTL", "a"], ["INCR", "a"], ["TTL", "a"],
      ["SET", "a", "5"], ["TTL", "a"], ["EXPIRE", "none", "1"], ["EXPIRE", "a", "x"],
      ["PEXPIRE", "a", "100900"], ["TTL", "a"], ["EXPIRE", "a", "-1"], ["GET", "a"],
      ["EXPIRE", "max", "9223372036854775807"],
      ["EXISTS", "max", "max", "none"], ["DEL", "max", "none"], ["DEL"],
      ["SET", "\x00\xff", "\x00"], ["GET", "\x00\xff"], ["DEL", "\x00\xff"],
      ["DBSIZE"], ["DBSIZE", "x"], ["FLUSHALL", "x"], ["FLUSHALL"], ["DBSIZE"], ["KEYS", "*"],
      ["SET", "hello", "1"], ["KEYS", "h?llo"], ["KEYS", "h[a-e]*"], ["KEYS", "h[^e]llo"],
      ["KEYS", "*l*o"], ["KEYS", "l*"], ["KEYS", "h[e-a]llo"], ["KEYS", "hell\\o"],
      ["KEYS", "[h]*[o]"], ["KEYS", "h*x*o"], ["KEYS", "hello*"], ["KEYS", "*hello"],
      ["KEYS", ""], ["KEYS"], ["FLUSHALL", "async"],
      ["SET", "a*[1]", "1"], ["KEYS", "a\\*\\[1\\]"], ["KEYS", "a[*][[]1]"], ["FLUSHALL", "SYNC"],
      ["HELLO", "4"], ["HELLO", "x"], ["HELLO", "1"],
      ["NOSUCH"], ["NOSUCH", "a", "b"], ["nosuch", "\r\n", "x".repeat(200), "y"],
      ["COMMAND", "NOSUCH"], ["COMMAND", "x".repeat(200)],
    ];
    // deno-fmt-ignore
    const inline = [
      "PING", "  ping  ", "", 'SET "a b" \'c\\\'d\'', 'GET "a b"', 'ECHO "\\x00\\n\\"q"',
      "ECHO \xc3\xa0", 'ECHO ""', "*0", "*-1", "GET",
    ];
    const request = commands.map((command) => resp(...command)).join("") +
      inline.map((line) => `${line}\r\n`).join("") + "PING\nQUIT\r\n";
    assertEquals(
      (await exchange(server.port, request)).split("\r\n"),
      (await exchange(real.port, request)).split("\r\n"),
    );
  },
});

Deno.test({
  name:
    "redis_server closes on what is not RESP, as Redis does, and only that connection",
  ignore: NO_SERVER,
  async fn() {
    await using real = await startRealRedis();
    await using server = await start();
    using bystander = await Deno.connect({
      hostname: "127.0.0.1",
      port: server.port,
    });
    const before = memory(server.process.pid);
    for (
      const request of [
        "*x\r\n",
        "*99999999999999999999\r\n",
        "*01\r\n",
        `*${"1".repeat(70_000)}`,
        "*1\r\nPING\r\n",
        "*1\r\n$04\r\nPING\r\n",
        `*1\r\n$${"1".repeat(70_000)}`,
        "*1\r\n$x\r\n",
        "*1\r\n$-1\r\n",
        "*1\r\n$536870913\r\n",
        "*1\r\n$99999999999999999999\r\n",
        'ECHO "unbalanced\r\n',
        "ECHO 'unbalanced\r\n",
        'ECHO "a"b\r\n',
        "PING\r\n*x\r\nPING\r\n",
        "x".repeat(70_000),
      ]
    ) {
      assertEquals(
        await exchange(server.port, request),
        await exchange(real.port, request),
        request.slice(0, 40),
      );
    }
    // Announced, but not there: nothing is taken for it.
    await using many = new AsyncDisposableStack();
    for (let i = 0; i < 20; i++) {
      const conn = await Deno.connect({
        hostname: "127.0.0.1",
        port: server.port,
      });
      many.use(conn);
      await send(conn, bytes("*2\r\n$4\r\nECHO\r\n$536870000\r\nabc"));
    }
    await send(bystander, bytes("PING\r\n"));
    await bystander.read(new Uint8Array(7));
    assertLess(memory(server.process.pid) - before, 100e6);
  },
});

Deno.test({
  name:
    "redis_server takes values of many MB that come in pieces, whatever their bytes",
  async fn() {
    await using server = await start();
    using conn = await Deno.connect({
      hostname: "127.0.0.1",
      port: server.port,
    });
    const value = new Uint8Array(30e6);
    for (let i = 0; i < value.length; i += 65536) {
      crypto.getRandomValues(value.subarray(i, i + 65536));
    }
    await send(
      conn,
      bytes(`*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n$${value.length}\r\n`),
    );
    await send(conn, value);
    await send(conn, bytes("\r\n" + resp("GET", "big") + resp("QUIT")));
    const received = await new Response(conn.readable).bytes();
    const head = bytes(`+OK\r\n$${value.length}\r\n`);
    assertEquals(latin1(received.subarray(0, head.length)), latin1(head));
    const body = received.subarray(head.length, head.length + value.length);
    assert(body.every((byte, i) => byte === value[i]));
    assertEquals(
      latin1(received.subarray(head.length + value.length)),
      "\r\n+OK\r\n",
    );
  },
});

Deno.test({
  name: "redis_server takes a request that comes byte by byte",
  async fn() {
    await using server = await start();
    using conn = await Deno.connect({
      hostname: "127.0.0.1",
      port: server.port,
    });
    conn.setNoDelay();
    for (
      const byte of bytes(resp("ECHO", "abc") + "ECHO 'd e'\r\n" + resp("QUIT"))
    ) {
      await send(conn, Uint8Array.of(byte));
    }
    assertEquals(
      latin1(await new Response(conn.readable).bytes()),
      "$3\r\nabc\r\n$3\r\nd e\r\n+OK\r\n",
    );
  },
});

Deno.test({
  name: "redis_server answers a batch with one write",
  ignore: Deno.build.os !== "linux",
  async fn() {
    await using server = await start();
    using conn = await Deno.connect({
      hostname: "127.0.0.1",
      port: server.port,
    });
    await send(conn, bytes(resp("PING").repeat(1000)));
    // What was written in one go is there in one go.
    const buffer = new Uint8Array(10_000);
    assertEquals(await conn.read(buffer), 7000);
  },
});

Deno.test({
  name: "redis_server takes a key of many MB for what it is",
  ignore: Deno.build.os !== "linux",
  async fn() {
    await using server = await start();
    const before = memory(server.process.pid);
    const request = resp("GET", "k".repeat(10e6)) + resp("QUIT");
    assertEquals(await exchange(server.port, request), "$-1\r\n+OK\r\n");
    assertLess(memory(server.process.pid) - before, 150e6);
  },
});

Deno.test({
  name:
    "redis_server bounds the memory for a client that asks for much and reads nothing",
  ignore: Deno.build.os !== "linux",
  async fn() {
    await using server = await start();
    using conn = await Deno.connect({
      hostname: "127.0.0.1",
      port: server.port,
    });
    const value = "x".repeat(1e6);
    await send(conn, bytes(resp("SET", "big", value)));
    assertEquals(await conn.read(new Uint8Array(100)), 5);
    const before = memory(server.process.pid);
    await send(conn, bytes(resp("GET", "big").repeat(500)));
    for (let i = 0; i < 20; i++) {
      await exchange(server.port, "PING\r\nQUIT\r\n");
    }
    assertLess(memory(server.process.pid) - before, 100e6);
  },
});

Deno.test({
  name: "redis_server lets keys expire",
  async fn() {
    await using server = await start();
    const set = resp("SET", "short", "1", "PX", "1") +
      resp("SET", "long", "1", "EX", "100");
    assertEquals(
      await exchange(server.port, set + "QUIT\r\n"),
      "+OK\r\n+OK\r\n+OK\r\n",
    );
    let answer;
    do answer = await exchange(server.port, "GET short\r\nQUIT\r\n"); while (
      answer !== "$-1\r\n+OK\r\n"
    );
    assertEquals(
      await exchange(server.port, "DBSIZE\r\nQUIT\r\n"),
      ":1\r\n+OK\r\n",
    );
  },
});

Deno.test({
  name: "redis_server is fast at a pattern that is made to be slow",
  async fn() {
    await using server = await start();
    const pattern = "*a".repeat(200) + "*b";
    const request = resp("SET", "a".repeat(10_000), "1") +
      resp("KEYS", pattern);
    assertEquals(
      await exchange(server.port, request + "QUIT\r\n"),
      "+OK\r\n*0\r\n+OK\r\n",
    );
  },
});

Deno.test({
  name: "redis_server serves redis-cli",
  ignore: NO_CLI,
  async fn() {
    await using server = await start();
    const cli = (...args: string[]) =>
      run("redis-cli", ["-p", `${server.port}`, ...args]);
    assertEquals((await cli("SET", "greeting", "hello world")).stdout, "OK\n");
    assertEquals((await cli("GET", "greeting")).stdout, "hello world\n");
    assertEquals((await cli("-r", "3", "INCR", "n")).stdout, "1\n2\n3\n");
    assertStringIncludes(
      (await cli("-3", "PING")).stdout + (await cli("-3", "PING")).stderr,
      "NOPROTO",
    );
    const session = await run(
      "redis-cli",
      ["-p", `${server.port}`],
      "SET a 1\nKEYS *\nCOMMAND COUNT\nNOSUCH\n",
    );
    assertMatch(session.stdout, /^OK\n[^]*\n17\nERR unknown command 'NOSUCH'/);
    // Mass insertion: one long pipeline, and how many replies there were.
    const commands = Array.from(
      { length: 10_000 },
      (_, i) => resp("SET", `key:${i}`, "x"),
    );
    const mass = await run(
      "redis-cli",
      ["-p", `${server.port}`, "--pipe"],
      commands.join(""),
    );
    assertMatch(mass.stdout, /errors: 0, replies: 10000/);
    assertEquals((await cli("DBSIZE")).stdout, "10003\n");
  },
});

Deno.test({
  name: "redis_server serves redis-benchmark, also -k 0 and -P 16",
  ignore: NO_BENCHMARK,
  async fn(t) {
    await using server = await start();
    for (
      const [options, requests] of [[[], 10_000], [["-k", "0"], 2000], [[
        "-P",
        "16",
      ], 50_000]] as const
    ) {
      await t.step(`redis-benchmark ${options.join(" ")}`, async () => {
        const { code, stdout } = await run("redis-benchmark", [
          ...[
            "-p",
            `${server.port}`,
            "-n",
            `${requests}`,
            "-t",
            "ping,set,get,incr",
            "--csv",
          ],
          ...options,
        ]);
        assertEquals(code, 0);
        const rows = stdout.split("\n").filter((row) =>
          /^"(PING|SET|GET|INCR)/.test(row)
        );
        assertEquals(rows.length, 5);
        for (const row of rows) assertGreater(Number(row.split('"')[3]), 0);
      });
    }
    const { stdout } = await run("redis-cli", [
      "-p",
      `${server.port}`,
      "GET",
      "counter:__rand_int__",
    ]);
    assertEquals(stdout, "62000\n");
  },
});

Deno.test({
  name: "redis_server serves the npm package redis",
  async fn() {
    await using server = await start();
    const client = createClient({
      socket: { host: "127.0.0.1", port: server.port },
    });
    await client.connect();
    assertEquals(
      await client.set("a", "1", { expiration: { type: "EX", value: 100 } }),
      "OK",
    );
    assertEquals(await client.ttl("a"), 100);
    assertEquals(await client.get("none"), null);
    const answers = await Promise.all(
      Array.from({ length: 1000 }, () => client.incr("n")),
    );
    assertEquals(answers, Array.from({ length: 1000 }, (_, i) => i + 1));
    assertEquals((await client.keys("*")).sort(), ["a", "n"]);
    assertEquals(await client.del(["a", "n"]), 2);
    await client.close();
  },
});

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  Deno.test({
    name: `redis_server ends on ${signal}, with an idle client connected`,
    ignore: Deno.build.os === "windows",
    async fn() {
      await using server = await start();
      using conn = await Deno.connect({
        hostname: "127.0.0.1",
        port: server.port,
      });
      await send(conn, bytes("PING\r\n"));
      assertEquals(await conn.read(new Uint8Array(10)), 7);
      server.process.kill(signal);
      assertEquals((await server.process.output()).code, 0);
    },
  });
}

Deno.test("redis_server takes its port with or without the option's name", async () => {
  for (const option of [[], ["--port"]]) {
    const port = freePort();
    await using server = startExample("redis_server", [...option, `${port}`]);
    assertEquals(await server.line(), `Serving on 127.0.0.1:${port}`);
    assertEquals(await exchange(port, "PING\r\nQUIT\r\n"), "+PONG\r\n+OK\r\n");
  }
});

Deno.test("redis_server says what is wrong with its arguments", async () => {
  for (
    const [args, message] of [
      [["--port", "x"], "Invalid port"],
      [["--port", "65536"], "Invalid port"],
      [["-1"], "Invalid port"],
      [["1", "2"], "There is one port"],
      [["--port", "1", "2"], "There is one port"],
    ] as const
  ) {
    await using server = startExample("redis_server", [...args]);
    const { code, stderr } = await server.output();
    assertEquals(code, 1);
    assertStringIncludes(stderr, message);
  }
});
