/** The example that replaces a server among clients that keep coming. */
import {
  assertEquals,
  assertGreater,
  assertLessOrEqual,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import { freePort } from "../helpers/free_port.ts";
import { Program } from "../helpers/faults.ts";
import { addressInUse } from "../helpers/os_words.ts";

const EXAMPLE = import.meta.resolve("../../examples/rolling_restart.ts");

/** The figures of a line like "1 answered, 0 reset". */
function figures(line: string): Record<string, number> {
  return Object.fromEntries(
    line.split(", ").map((figure) => figure.split(" "))
      .map(([count, name]) => [name, Number(count)]),
  );
}

const run = (...args: string[]) =>
  Program.deno(["--unstable-net", EXAMPLE, ...args]);

Deno.test({
  name: "rolling_restart.ts serves while the server is replaced",
  ignore: Deno.build.os !== "linux",
  async fn() {
    const port = freePort();
    await using example = run("--port", `${port}`, "--restarts", "3");
    const shutdown = figures(await example.lineAfter("shutdown(): "));
    const close = figures(await example.lineAfter("close(): "));
    assertEquals((await example.status).code, 0, example.stderr);
    assertEquals(example.stderr, "");
    assertGreater(shutdown.answered!, 0);
    assertGreater(close.answered!, 0);
    assertEquals(shutdown.unanswered, 0); // whom it has accepted, it answers
    // Whoever comes in the moment between the last look into the queue and the
    // socket's end: with eight clients, not more than eight for each socket.
    assertLessOrEqual(shutdown.reset! + shutdown.refused!, 3 * 8);
    using _free = Deno.listen({ hostname: "127.0.0.1", port });
  },
});

Deno.test({
  name: "rolling_restart.ts ends cleanly when it is interrupted",
  ignore: Deno.build.os !== "linux",
  async fn() {
    const port = freePort();
    const options = ["--restarts", "1000000", "--verbose"];
    await using example = run("--port", `${port}`, ...options);
    await connects(port);
    example.kill("SIGINT");
    assertEquals((await example.status).code, 0, example.stderr);
    assertMatch(example.stderr, /^(client 127\.0\.0\.1:\d+\n)+$/);
    using _free = Deno.listen({ hostname: "127.0.0.1", port });
  },
});

Deno.test({
  name: "rolling_restart.ts says that the port is in use",
  ignore: Deno.build.os !== "linux",
  async fn() {
    using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const { port } = taken.addr;
    await using example = run("--port", `${port}`);
    assertEquals((await example.status).code, 1);
    assertStringIncludes(
      example.stderr,
      `Cannot listen on 127.0.0.1:${port}: ${addressInUse()}`,
    );
    assertEquals(example.stderr.includes("    at "), false, example.stderr);
  },
});

Deno.test("rolling_restart.ts explains itself", async () => {
  await using help = run("--help");
  assertEquals(await help.line(), "Usage: rolling_restart.ts [options]");
  assertEquals((await help.status).code, 0);
  for (
    const [arg, value, word] of [
      ["--port", "70000", "Invalid port\n"],
      [
        "--restarts",
        "none",
        "--restarts and --clients take a positive number, 1000 clients at most\n",
      ],
      ["--nonsense", "1", "Unknown option: --nonsense\n"],
    ] as const
  ) {
    await using refused = run(arg, value);
    assertEquals((await refused.status).code, 1);
    assertEquals(refused.stderr, word);
  }
});

/** Resolves when somebody listens. */
async function connects(port: number): Promise<void> {
  for (let i = 0; i < 3000; i++) { // a minute
    try {
      return (await Deno.connect({ hostname: "127.0.0.1", port })).close();
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
  throw new Error("Nobody listens");
}
