/** The examples that run on every core. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { readAll } from "../helpers/clients.ts";
import { startExample } from "../helpers/example_process.ts";

const FLAGS = ["--allow-net", "--allow-read"];

async function send(port: number, text: string): Promise<string> {
  const conn = await Deno.connect({ hostname: "127.0.0.1", port });
  await conn.write(new TextEncoder().encode(text));
  await conn.closeWrite();
  return await readAll(conn);
}

Deno.test("factors answers each line with the number's prime factors", async () => {
  await using server = startExample("factors/main", ["0"], FLAGS);
  const port = await server.port();
  assertEquals(
    await send(port, "12\r\n1\n97\n1234567890123\n"),
    "12 = 2 × 2 × 3\n1 = 1\n97 = 97\n1234567890123 = 3 × 3541 × 116216501\n",
  );
  const refused = "a number of at most 13 digits, please\n";
  assertEquals(
    await send(port, `0\nabc\n${"9".repeat(100_000)}\n7`),
    refused.repeat(3),
  );
});

Deno.test("parallel_echo serves during SIGHUP, and ends with its clients", {
  ignore: Deno.build.os === "windows",
}, async () => {
  await using server = startExample(
    "parallel_echo/main",
    ["--workers", "2", "0"],
    FLAGS,
  );
  const port = await server.port();
  assertEquals(await send(port, "hello"), "hello");
  using client = await Deno.connect({ hostname: "127.0.0.1", port });
  await client.write(new Uint8Array(1));
  await client.read(new Uint8Array(1));
  server.kill("SIGHUP");
  for (let i = 0; i < 20; i++) {
    assertEquals(await send(port, `hello ${i}`), `hello ${i}`);
  }
  await client.closeWrite();
  assertEquals(await server.line(), "All workers are new");
  server.kill("SIGTERM");
  assertEquals((await server.output()).code, 0);
});

Deno.test("parallel_echo says that a number of workers is invalid", async () => {
  for (
    const [arg, message] of [
      ["--workers=0", "Invalid --workers"],
      ["--workers=x", "Invalid --workers"],
    ] as const
  ) {
    await using server = startExample("parallel_echo/main", [arg], FLAGS);
    const { code, stderr } = await server.output();
    assertEquals(code, 1);
    assertStringIncludes(stderr, message);
  }
});
