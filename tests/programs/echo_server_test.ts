/** examples/echo_server.ts, run as its user does. */
import { assert, assertEquals } from "@std/assert";
import { freePort } from "../helpers/free_port.ts";
import { wasInQueue } from "../helpers/clients.ts";
import { type Process, startExample } from "../helpers/example_process.ts";
import { exchange, roundTrip } from "../helpers/faults.ts";

const ANSWER = { hostname: "127.0.0.1" };

function start(...args: string[]): Process {
  return startExample("echo_server", args);
}

Deno.test("the echo server sends 8 MB back, and what was sent before the client's FIN", async () => {
  const port = freePort();
  await using server = start(String(port));
  assertEquals(await server.line(), `Echoing on 0.0.0.0:${port}`);
  const bytes = new Uint8Array(8 * 1024 * 1024);
  for (let i = 0; i < bytes.length; i += 65536) {
    crypto.getRandomValues(bytes.subarray(i, i + 65536));
  }
  const conn = await Deno.connect({ ...ANSWER, port });
  const echoed = await exchange(conn, bytes);
  assertEquals(echoed.length, bytes.length);
  assert(echoed.every((byte, i) => byte === bytes[i]));
});

Deno.test("the echo server survives a client that resets", async () => {
  const port = freePort();
  await using server = start(String(port), "--hostname", "127.0.0.1");
  assertEquals(await server.line(), `Echoing on 127.0.0.1:${port}`);
  {
    using rude = await Deno.connect({ ...ANSWER, port });
    await rude.write(new Uint8Array(100_000)); // closing with unread echoes resets
  }
  const conn = await Deno.connect({ ...ANSWER, port });
  assertEquals(
    await exchange(conn, new Uint8Array([1, 2, 3])),
    new Uint8Array([1, 2, 3]),
  );
  server.kill("SIGTERM");
  const { stdout, stderr } = await server.output();
  // Without --verbose there is no word of clients.
  assertEquals([stdout, stderr], [`Echoing on 127.0.0.1:${port}\n`, ""]);
});

Deno.test("the echo server refuses what is not a port", async () => {
  for (
    const port of [
      "0",
      "65536",
      "-1",
      "80.5",
      "echo",
      "",
      "1e3",
      "0x50",
      " 80",
      "NaN",
    ]
  ) {
    const { code, stdout, stderr } = await start(port).output();
    assertEquals([port, code, stdout, stderr], [port, 1, "", "Invalid port\n"]);
  }
});

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  Deno.test(`the echo server drains on ${signal} and exits with 0`, {
    ignore: Deno.build.os === "windows",
  }, async () => {
    const port = freePort();
    await using server = start(String(port));
    await server.line();
    const conn = await Deno.connect({ ...ANSWER, port });
    const [first] = await Promise.all([
      conn.read(new Uint8Array(1)),
      conn.write(new Uint8Array([7])),
    ]);
    assertEquals(first, 1);
    server.kill(signal);
    // It stops listening, but serves the client that it has.
    await refused(port);
    assertEquals(
      await exchange(conn, new Uint8Array([1, 2, 3])),
      new Uint8Array([1, 2, 3]),
    );
    const { code, stderr } = await server.output();
    assertEquals([code, stderr], [0, ""]);
  });
}

Deno.test("the echo server ends at once on a second signal", {
  ignore: Deno.build.os === "windows",
}, async () => {
  const port = freePort();
  await using server = start(String(port));
  await server.line();
  using conn = await Deno.connect({ ...ANSWER, port });
  await Promise.all([
    conn.read(new Uint8Array(1)),
    conn.write(new Uint8Array([7])),
  ]);
  server.kill("SIGTERM");
  await refused(port); // the first signal has arrived
  server.kill("SIGINT");
  assertEquals((await server.output()).code, 0);
});

/** Whether the server goes on serving a client after two SIGINT, and how fast they came. */
async function interruptTwice(): Promise<{ ms: number; served: boolean }> {
  const port = freePort();
  await using server = start(String(port));
  await server.line();
  using conn = await Deno.connect({ ...ANSWER, port });
  await conn.write(new Uint8Array([7]));
  await conn.read(new Uint8Array(1));
  const before = performance.now();
  server.kill("SIGINT");
  await server.line(/^Connections still open: 1\./);
  server.kill("SIGINT");
  const ms = performance.now() - before;
  const text = "so many that the second signal has arrived".repeat(10);
  let answer = "";
  for (const char of text) answer += await roundTrip(conn, char);
  return { ms, served: answer === text };
}

Deno.test(
  "the echo server takes a Ctrl-C that deno task passes on for the same",
  {
    ignore: Deno.build.os === "windows",
  },
  async () => {
    // On a machine that is busy with other things they may come apart.
    for (let tries = 0; tries < 5; tries++) {
      const { ms, served } = await interruptTwice();
      if (ms < 250) return assertEquals(served, true);
    }
    console.log("Not tested: this machine is too slow.");
  },
);

Deno.test(
  "the echo server shuts down on an accept error, with libevent's words",
  {
    ignore: Deno.build.os === "windows",
  },
  async () => {
    const port = freePort();
    await using server = startExample(
      "echo_server",
      [String(port)],
      ["--allow-net"],
      {},
      48,
    );
    await server.line();
    const clients: Deno.Conn[] = [];
    await refused(port, clients);
    clients.forEach((client) => client.close());
    const { code, stderr } = await server.output();
    assertEquals(
      [code, stderr],
      [
        0,
        "Got an error 24 (Too many open files) on the listener. Shutting down.\n",
      ],
    );
  },
);

/**
 * Connects until nobody listens on the port any more, and keeps the connections
 * if somebody wants them.
 */
async function refused(port: number, conns?: Deno.Conn[]): Promise<void> {
  while (true) {
    try {
      const conn = await Deno.connect({ ...ANSWER, port });
      if (conns) conns.push(conn);
      else conn.close();
    } catch (error) {
      if (error instanceof Deno.errors.ConnectionRefused) return;
      if (!wasInQueue(error)) throw error;
    }
  }
}
