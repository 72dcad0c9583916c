/** examples/smtp_server.ts, with curl. */
import { assertEquals, assertMatch } from "@std/assert";
import { run, startExample } from "../helpers/example_process.ts";
import { missing } from "../helpers/missing.ts";

const FLAGS = [
  "--allow-net=127.0.0.1",
  "--allow-read",
  "--allow-env",
  "--allow-sys",
];

Deno.test("smtp_server prints mails, plain and by STARTTLS, and drains", {
  ignore: missing("curl"),
}, async () => {
  const [cert, key] = ["crt", "key"]
    .map((end) => `tests/testdata/localhost.${end}`) as [string, string];
  const args = ["--cert", cert, "--key", key, "0"];
  await using server = startExample("smtp_server", args, FLAGS);
  const url = `smtp://localhost:${await server.port()}`;
  for (const tls of [[], ["--ssl-reqd", "--cacert", cert]]) {
    const text = `Subject: a mail\r\n\r\n${
      tls.length > 0 ? "secret" : "open"
    }\r\n`;
    const { code, stderr } = await run("curl", [
      ...["-sS", "--ipv4", ...tls, url, "--mail-from", "me@localhost"],
      ...["--mail-rcpt", "you@localhost", "--upload-file", "-"],
    ], text);
    assertEquals([code, stderr], [0, ""]);
    assertMatch(
      await server.line(/^(secret|open)/),
      tls.length > 0 ? /secret/ : /open/,
    );
  }
  server.kill("SIGTERM");
  const { code, stderr } = await server.output();
  assertEquals([code, stderr], [0, ""]);
});
