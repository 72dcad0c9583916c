/** The TLS echo server, driven by openssl. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { CERTIFICATE } from "../helpers/certificate.ts";
import { Process, run, startExample } from "../helpers/example_process.ts";
import { roundTrip } from "../helpers/faults.ts";
import { missing } from "../helpers/missing.ts";
import { noSuchFile } from "../helpers/os_words.ts";

const NO_OPENSSL = missing("openssl");
const FLAGS = ["--allow-net", "--allow-read"];

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
      await using after = connect(port, cert);
      await assertEchoes(after, "after");
      await using refused = connect(port, old);
      assertEquals((await refused.output()).code, 1);
      await assertEchoes(before, "still the same");

      await Deno.writeTextFile(cert, "nonsense");
      server.kill("SIGHUP");
      await server.errorLine(/Keeping the old certificate: /);
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

Deno.test(
  "tls_echo_server loses none of 500 clients while it renews its certificate ten times",
  {
    ignore: Deno.build.os === "windows",
  },
  async () => {
    const [cert, key] = ["crt", "key"]
      .map((end) => `tests/testdata/localhost.${end}`) as [string, string];
    const args = ["--cert", cert, "--key", key, "--hostname", "127.0.0.1", "0"];
    await using server = startExample("tls_echo_server", args, FLAGS);
    const port = await server.port();
    let begun = 0;
    await Promise.all(Array.from({ length: 8 }, async () => {
      while (begun++ < 500) {
        if (begun % 50 === 0) server.kill("SIGHUP");
        const conn = await Deno.connect({ hostname: "127.0.0.1", port });
        conn.setNoDelay();
        using client = await Deno.startTls(conn, {
          hostname: "localhost",
          caCerts: [CERTIFICATE.cert],
        });
        assertEquals(await roundTrip(client, "hello"), "hello");
      }
    }));
    server.kill("SIGTERM");
    const { code, stdout, stderr } = await server.output();
    assertEquals([code, stderr], [0, ""]);
    assertStringIncludes(stdout, "Using the new certificate");
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
