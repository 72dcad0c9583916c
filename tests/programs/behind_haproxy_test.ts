/** The example that restarts servers behind HAProxy while clients keep coming. */
import { assertEquals, assertGreater, assertStringIncludes } from "@std/assert";
import { Program } from "../helpers/faults.ts";
import { missing } from "../helpers/missing.ts";

const EXAMPLE = import.meta.resolve(
  "../../examples/behind_haproxy/restart_under_load.ts",
);

const noHaproxy = missing("haproxy");

const run = (...args: string[]) => Program.deno([EXAMPLE, ...args]);

/**
 * The first of three free ports in a row. The system gives clients the ports above
 * 32767, and could give them a server's while it is restarted.
 */
function threeFreePorts(): number {
  for (;;) {
    const first = 10_000 + Math.floor(Math.random() * 20_000);
    if ([first, first + 1, first + 2].every(isFree)) return first;
  }
}

function isFree(port: number): boolean {
  try {
    Deno.listen({ hostname: "127.0.0.1", port }).close();
    return true;
  } catch {
    return false;
  }
}

/** The numbers in a line. */
const numbers = (line: string) => line.match(/\d+/g)!.map(Number);

Deno.test({
  name: "restart_under_load.ts loses nobody, and the servers log all clients",
  ignore: noHaproxy,
  async fn() {
    const port = threeFreePorts();
    const options = ["--restarts", "1", "--verbose"];
    await using example = run("--port", `${port}`, ...options);
    let clients = 0, figures;
    while ((figures = await example.line()).startsWith("client 127.0.0.1:")) {
      clients++;
    }
    const [restarts, answered, lost] = numbers(figures);
    assertEquals([restarts, lost], [2, 0], figures);
    assertGreater(answered!, 0);
    assertEquals(clients, answered);
    assertEquals(numbers(await example.line()), [answered, answered]);
    assertEquals((await example.status).code, 0, example.stderr);
    assertEquals(example.stderr, "");
    assertEquals([port, port + 1, port + 2].every(isFree), true);
  },
});

Deno.test({
  name: "restart_under_load.ts says that HAProxy's port is in use",
  ignore: noHaproxy,
  async fn() {
    const port = threeFreePorts();
    using _taken = Deno.listen({ hostname: "127.0.0.1", port });
    await using example = run("--port", `${port}`);
    assertEquals((await example.status).code, 1);
    assertStringIncludes(example.stderr, "HAProxy has ended");
    assertStringIncludes(example.stderr, `127.0.0.1:${port}`);
    assertEquals([port + 1, port + 2].every(isFree), true);
  },
});

Deno.test("restart_under_load.ts explains itself", async () => {
  await using help = run("--help");
  assertEquals(await help.line(), "Usage: restart_under_load.ts [options]");
  assertEquals((await help.status).code, 0);
  for (
    const [arg, value, message] of [
      ["--port", "70000", "Invalid port\n"],
      ["--restarts", "11", "--restarts takes a number from 1 to 10\n"],
      ["--clients", "none", "--clients takes a number from 1 to 100\n"],
      ["--nonsense", "1", "Unknown option: --nonsense\n"],
    ] as const
  ) {
    await using refused = run(arg, value);
    assertEquals((await refused.status).code, 1);
    assertEquals(refused.stderr, message);
  }
});
