/** The chat, driven by nc and socat. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { Process, startExample } from "../helpers/example_process.ts";
import { missing } from "../helpers/missing.ts";
import { NC_HALF_CLOSES } from "../helpers/nc.ts";
import { addressInUse } from "../helpers/os_words.ts";

const NO_NC = missing("nc");
const NO_SOCAT = missing("socat");

Deno.test({
  name: "chat_server tells everybody else what somebody says (nc)",
  ignore: NO_NC,
  async fn() {
    await using server = startExample("chat_server", ["0"]);
    const port = `${await server.port()}`;
    await using ann = new Process("nc", ["127.0.0.1", port]);
    assertEquals(await ann.line(), "You are guest 1 of 1");
    await using bob = new Process("nc", [...NC_HALF_CLOSES, "127.0.0.1", port]);
    assertEquals(await bob.line(), "You are guest 2 of 2");
    assertEquals(await ann.line(), "guest 2 has come");
    await ann.write("hello\nBob");
    assertEquals(await bob.line(), "guest 1: hello");
    await ann.write("!\n");
    assertEquals(await bob.line(), "guest 1: Bob!");
    await bob.write("bye\n");
    assertEquals(await ann.line(), "guest 2: bye");
    assertEquals((await bob.output()).code, 0);
    assertEquals(await ann.line(), "guest 2 has left");
    server.kill("SIGINT");
    assertEquals((await server.output()).code, 0);
    assertEquals((await ann.output()).code, 0);
  },
});

Deno.test({
  name: "chat_server listens on a Unix socket, and removes it (socat)",
  ignore: NO_SOCAT,
  async fn() {
    const folder = await Deno.makeTempDir();
    const path = `${folder}/chat.sock`;
    await using server = startExample("chat_server", ["--unix", path], [
      "--allow-net",
      "--allow-read",
      "--allow-write",
    ]);
    assertEquals(await server.line(), `Chatting on ${path}`);
    await using ann = new Process("socat", ["-", `UNIX-CONNECT:${path}`]);
    assertEquals(await ann.line(), "You are guest 1 of 1");
    await using bob = new Process("socat", ["-", `UNIX-CONNECT:${path}`]);
    assertEquals(await bob.line(), "You are guest 2 of 2");
    await bob.write("hello\n");
    assertEquals(await ann.line(/: /), "guest 2: hello");
    server.kill("SIGTERM");
    assertEquals((await server.output()).code, 0);
    assertEquals([...Deno.readDirSync(folder)], []);
    await Deno.remove(folder);
  },
});

Deno.test({
  name: "chat_server drops who does not read, and nobody else",
  ignore: NO_NC,
  async fn() {
    await using server = startExample("chat_server", ["0"]);
    const port = await server.port();
    using slow = await Deno.connect({ hostname: "127.0.0.1", port });
    await using ann = new Process("nc", ["127.0.0.1", `${port}`]);
    await ann.line(/You are/);
    await using bob = new Process("nc", ["127.0.0.1", `${port}`]);
    await bob.line(/You are/);
    // Bob reads while Ann writes; she stops when the slow one is gone.
    const line = `${"x".repeat(4000)}\n`;
    let dropped = false;
    const left = ann.line(/guest 1 has left/).then(() => dropped = true);
    for (let sent = 0; !dropped && sent < 20_000; sent++) {
      await ann.write(line);
      await bob.line(/: x{4000}$/);
    }
    await left;
    await ann.write("still here\n");
    assertEquals(await bob.line(/still/), "guest 2: still here");
    await slow.readable.cancel();
  },
});

Deno.test({
  name:
    "chat_server waits for who reads, and takes a last line without its end",
  ignore: NO_NC,
  async fn() {
    await using server = startExample("chat_server", ["0"]);
    const port = `${await server.port()}`;
    await using bob = new Process("nc", ["127.0.0.1", port]);
    await bob.line(/You are/);
    // A byte from Ann is eleven for Bob.
    await using ann = new Process("nc", [...NC_HALF_CLOSES, "127.0.0.1", port]);
    await ann.write("\n".repeat(60_000) + "the end");
    await ann.closeInput();
    assertEquals(await bob.line(/the end/), "guest 2: the end");
  },
});

Deno.test({
  name: "chat_server drops who sends a line that does not end",
  ignore: NO_NC,
  async fn() {
    await using server = startExample("chat_server", ["0"]);
    await using ann = new Process("nc", [
      "127.0.0.1",
      `${await server.port()}`,
    ]);
    assertEquals(await ann.line(), "You are guest 1 of 1");
    // nc may be gone before it has read it all.
    await ann.write("x".repeat(100_000)).catch(() => {});
    assertEquals((await ann.output()).stdout, "You are guest 1 of 1\n");
  },
});

Deno.test("chat_server says once that it cannot listen where a file is", {
  ignore: Deno.build.os === "windows",
}, async () => {
  const path = await Deno.makeTempFile();
  await using server = startExample("chat_server", ["--unix", path], [
    "--allow-net",
    "--allow-read",
    "--allow-write",
  ]);
  const { code, stderr } = await server.output();
  assertEquals(code, 1);
  assertEquals(stderr.split("Cannot listen").length - 1, 1, stderr);
  assertEquals(stderr.split(path).length - 1, 1, stderr);
  assertStringIncludes(stderr, addressInUse());
  await Deno.remove(path);
});

Deno.test("chat_server says what is wrong with --unix", async () => {
  for (
    const [args, message] of [
      [["--unix="], "--unix takes a path"],
      [["--unix", "/nosuch/chat.sock"], "Cannot listen on /nosuch/chat.sock"],
    ] as const
  ) {
    await using server = startExample("chat_server", [...args], [
      "--allow-net",
      "--allow-read",
      "--allow-write",
    ]);
    const { code, stderr } = await server.output();
    assertEquals(code, 1);
    assertStringIncludes(stderr, message);
  }
});
