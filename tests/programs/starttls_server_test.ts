/** examples/starttls_server.ts, with the clients of mail servers. */
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { CERTIFICATE } from "../helpers/certificate.ts";
import { isClosed } from "../helpers/clients.ts";
import { Process, run, startExample } from "../helpers/example_process.ts";
import { HAS_SIGNALS } from "../helpers/machine.ts";
import { missing } from "../helpers/missing.ts";
import { noSuchFile } from "../helpers/os_words.ts";

const CERT = "tests/testdata/localhost.crt";
const KEY = "tests/testdata/localhost.key";

function start(...args: string[]): Process {
  return startExample(
    "starttls_server",
    ["--cert", CERT, "--key", KEY, ...args],
    ["--allow-net=127.0.0.1", "--allow-read=tests/testdata"],
  );
}

async function send(conn: Deno.Conn, text: string): Promise<void> {
  await conn.write(new TextEncoder().encode(text));
}

/** Reads to the end of an answer. */
async function answer(conn: Deno.Conn): Promise<string> {
  const buffer = new Uint8Array(1024);
  let text = "";
  while (!/^\d{3} .*\r\n/m.test(text)) {
    const length = await conn.read(buffer);
    if (length === null) break;
    text += new TextDecoder().decode(buffer.subarray(0, length));
  }
  return text;
}

/** A client that has said STARTTLS, with this behind it in the same packet. */
async function begin(server: Process, behind = ""): Promise<Deno.TcpConn> {
  const port = await server.port();
  const conn = await Deno.connect({ hostname: "127.0.0.1", port });
  assertEquals(await answer(conn), "220 localhost\r\n");
  await send(conn, "EHLO a\r\n");
  assertEquals(await answer(conn), "250-hello\r\n250 STARTTLS\r\n");
  await send(conn, `STARTTLS\r\n${behind}`);
  return conn;
}

Deno.test("the STARTTLS server speaks TLS with openssl", {
  ignore: missing("openssl"),
}, async () => {
  await using server = start("0");
  await using client = new Process("openssl", [
    ...["s_client", "-starttls", "smtp", "-quiet", "-verify_return_error"],
    ...["-CAfile", CERT, "-connect", `127.0.0.1:${await server.port()}`],
  ]);
  await client.write("HELP\r\nQUIT\r\n");
  assertMatch(await client.line(/^214/), /this is TLS/);
  assertMatch(await client.line(/^221/), /bye/);
  const { code, stderr } = await client.output();
  assertEquals(code, 0, stderr);
});

Deno.test("the STARTTLS server speaks TLS with curl, and plain text", {
  ignore: missing("curl"),
}, async () => {
  await using server = start("0");
  const url = `smtp://localhost:${await server.port()}`;
  const secure = await run("curl", [
    ...["-s", "--ssl-reqd", "--cacert", CERT, "--ipv4", url],
  ]);
  assertEquals([secure.code, secure.stdout], [0, "214 this is TLS\r\n"]);
  const plain = await run("curl", ["-s", "--ipv4", url]);
  assertEquals([plain.code, plain.stdout], [0, "214 this is plain text\r\n"]);
});

Deno.test("the STARTTLS server drains: who is in TLS is served to the end", {
  ignore: !HAS_SIGNALS,
}, async () => {
  await using server = start("0");
  const conn = await begin(server);
  assertEquals(await answer(conn), "220 go ahead\r\n");
  const { cert } = CERTIFICATE;
  using tls = await Deno.startTls(conn, {
    hostname: "localhost",
    caCerts: [cert],
  });
  await tls.handshake();
  server.kill("SIGTERM");
  await send(tls, "HELP\r\n");
  assertEquals(await answer(tls), "214 this is TLS\r\n");
  await send(tls, "STARTTLS\r\n"); // once is enough
  assertEquals(await isClosed(tls), true);
  const { code, stderr } = await server.output();
  assertEquals([code, stderr], [0, ""]);
});

Deno.test("the STARTTLS server takes nothing in plain text for TLS", async () => {
  await using server = start("0");
  using conn = await begin(server, "HELP\r\n");
  assertEquals(await isClosed(conn), true);
});

Deno.test("the STARTTLS server survives who does not speak TLS, and who says too much", async () => {
  await using server = start("0");
  using conn = await begin(server);
  assertEquals(await answer(conn), "220 go ahead\r\n");
  await send(conn, "HELP\r\n".repeat(10));
  assertMatch(await server.errorLine(/./), /^127.0.0.1: Error: /);
  const { port } = conn.remoteAddr;
  using long = await Deno.connect({ hostname: "127.0.0.1", port });
  await answer(long);
  await send(long, "x".repeat(513));
  assertEquals(await isClosed(long), true);
  using last = await Deno.connect({ hostname: "127.0.0.1", port });
  assertEquals(await answer(last), "220 localhost\r\n");
});

Deno.test("the STARTTLS server says what it cannot read", async () => {
  const { code, stderr } = await start("--cert", "tests/testdata/none.crt")
    .output();
  assertEquals(code, 1);
  assertMatch(stderr, /^.*\n$/);
  const words = `Cannot start on 127.0.0.1:2525: ${noSuchFile()}`;
  assertStringIncludes(stderr, words);
});
