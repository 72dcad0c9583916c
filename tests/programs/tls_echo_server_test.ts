/** The TLS echo server, driven by openssl. */
import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { CERTIFICATE } from "../helpers/certificate.ts";
import { Process, run, startExample } from "../helpers/example_process.ts";
import { roundTrip } from "../helpers/faults.ts";
import { missing } from "../helpers/missing.ts";
import { noSuchFile } from "../helpers/os_words.ts";

const NO_OPENSSL = missing("openssl");
const FLAGS = ["--unstable-net", "--allow-net", "--allow-read"];

/** Makes a certificate for localhost, signed by itself. */
async function makeCertificate(cert: string, key: string): Promise<void> {
  const { code, stderr } = await run("openssl", [
    ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
    ...["-nodes", "-days", "2", "-subj", "/CN=localhost"],
    ...["-keyout", key, "-out", cert],
  ]);
  assertEquals(code, 0, stderr);
}

/** Connects; nothing works unless the server has this certificate. */
function connect(port: number, cert: string): Process {
  return new Process("openssl", [
    ...["s_client", "-connect", `127.0.0.1:${port}`, "-quiet", "-no_ign_eof"],
    ...["-CAfile", cert, "-verify_return_error"],
  ]);
}

async function assertEchoes(client: Process, text: string): Promise<void> {
  await client.write(`${text}\n`);
  assertEquals(await client.line(), text);
}

/** For a moment, new clients may come to the listener that is being drained. */
async function connectSoon(port: number, cert: string): Promise<Process> {
  for (let tries = 50;; tries--) {
    const client = connect(port, cert);
    try {
      await assertEchoes(client, "new");
      return client;
    } catch (error) {
      await client[Symbol.asyncDispose]();
      if (tries === 0) throw error;
    }
  }
}

/** For that moment, the old certificate may still be good. */
async function isRefusedSoon(port: number, cert: string): Promise<void> {
  for (let tries = 50; tries > 0; tries--) {
    await using client = connect(port, cert);
    if ((await client.output()).code === 1) return;
  }
  throw new Error("The old certificate is still in use");
}

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  Deno.test({
    name:
      `tls_echo_server takes a new certificate while clients go on, and ends on ${signal}`,
    ignore: NO_OPENSSL,
    async fn() {
      const folder = await Deno.makeTempDir();
      const [cert, key, old] = ["cert.pem", "key.pem", "old.pem"]
        .map((name) => `${folder}/${name}`) as [string, string, string];
      await makeCertificate(cert, key);
      await Deno.copyFile(cert, old);
      const args = ["--cert", cert, "--key", key, "--hostname", "127.0.0.1"];
      await using server = startExample(
        "tls_echo_server",
        [...args, "0"],
        FLAGS,
      );
      const port = await server.port();
      await using before = connect(port, old);
      await assertEchoes(before, "before");

      await makeCertificate(cert, key);
      server.kill("SIGHUP");
      await server.line(/Using the new certificate/);
      await using after = await connectSoon(port, cert);
      await assertEchoes(after, "after");
      await isRefusedSoon(port, old);
      await assertEchoes(before, "still the same");

      await Deno.writeTextFile(cert, "nonsense");
      server.kill("SIGHUP");
      await server.errorLine(/Keeping the old certificate: No certificates/);
      server.kill(signal);
      await assertEchoes(before, "still here");
      await assertEchoes(after, "so am I");
      assertEquals((await before.output()).code, 0);
      assertEquals((await after.output()).code, 0);
      assertEquals((await server.output()).code, 0);
      await Deno.remove(folder, { recursive: true });
    },
  });
}

/** Starts it with the certificate that tests have. */
function start(hostname: string, port: number): Process {
  const [cert, key] = ["crt", "key"]
    .map((end) => `tests/testdata/localhost.${end}`) as [string, string];
  const args = ["--cert", cert, "--key", key, "--hostname", hostname];
  return startExample("tls_echo_server", [...args, `${port}`], FLAGS);
}

async function ask(port: number, text: string): Promise<string> {
  const conn = await Deno.connect({ hostname: "127.0.0.1", port });
  using client = await Deno.startTls(conn, {
    hostname: "localhost",
    caCerts: [CERTIFICATE.cert],
  });
  return await roundTrip(client, text);
}

Deno.test(
  "tls_echo_server says that the port is in use, and leaves it to the one that has it",
  {
    ignore: Deno.build.os !== "linux",
  },
  async () => {
    await using first = start("127.0.0.1", 0);
    const port = await first.port();
    for (const hostname of ["127.0.0.1", "0.0.0.0"]) {
      await using second = start(hostname, port);
      await assertRejects(() => second.line()); // it would say that it serves
      const { code, stdout, stderr } = await second.output();
      assertEquals([code, stdout, stderr], [
        1,
        "",
        `Cannot listen on ${hostname}:${port}: Address already in use (os error 98)\n`,
      ]);
      // The kernel would give some of them to the second.
      for (let i = 0; i < 3; i++) {
        assertEquals(await ask(port, `client ${i}`), `client ${i}`);
      }
    }
    first.kill("SIGHUP");
    await first.line(/Using the new certificate/);
    first.kill("SIGTERM");
    assertEquals((await first.output()).code, 0);
  },
);

Deno.test("tls_echo_server says that it cannot read the certificate", async () => {
  const args = ["--cert", "/nosuch", "0"];
  await using server = startExample("tls_echo_server", args, FLAGS);
  const { code, stderr } = await server.output();
  assertEquals(code, 1);
  const words = `Cannot start on 0.0.0.0:0: ${noSuchFile()}`;
  assertStringIncludes(stderr, words);
});
