/** docs/recipes.md: what is in front of a listener, run as it stands there. */
import { assertEquals } from "@std/assert";
import { type ConnectionCallback, listen, proxyHeader } from "@evconn/listener";
import { tlsNames } from "../../examples/behind_haproxy/tls_names.ts";
import { readAll, until } from "../helpers/clients.ts";
import { Process, run } from "../helpers/example_process.ts";
import { roundTrip, writeAll } from "../helpers/faults.ts";
import { freePort } from "../helpers/free_port.ts";
import { HAS_SIGNALS } from "../helpers/machine.ts";
import { missing } from "../helpers/missing.ts";
import { missingNginxStream, Proxy } from "../helpers/proxies.ts";
import { recipe, recipeFile } from "../helpers/recipes.ts";
import { TempDir } from "../helpers/temp_dir.ts";
import { startUserProgram } from "../helpers/user_program.ts";

const KEY = "tests/testdata/localhost.key";
const CERT = "tests/testdata/localhost.crt";
const text = (what: string) => new TextEncoder().encode(what);

/** A listener behind a proxy, and the proxy's configuration with ports that are free. */
function behind(template: string, callback: ConnectionCallback) {
  const listener = listen({
    hostname: "127.0.0.1",
    port: 0,
    proxyProtocol: (proxy) => proxy.hostname === "127.0.0.1",
  }, callback);
  const port = freePort();
  const config = template
    .replaceAll("9877", String(listener.addr.port))
    .replaceAll(":9876", `127.0.0.1:${port}`)
    .replaceAll("listen 9876", `listen 127.0.0.1:${port}`);
  return { listener, port, config };
}

for (
  const [language, start, ignore] of [
    ["haproxy", Proxy.haproxy, missing("haproxy")],
    ["nginx", Proxy.nginx, missingNginxStream()],
  ] as const
) {
  Deno.test(`recipes: ${language} tells the client's address`, {
    ignore,
  }, async () => {
    const section = "The client's address behind HAProxy and nginx";
    const { listener, port, config } = behind(
      recipe(section, language),
      (conn) => writeAll(conn, text(JSON.stringify(conn.remoteAddr))),
    );
    await using _listener = listener;
    await using _proxy = await start(config);
    const client = await Deno.connect({ hostname: "127.0.0.1", port });
    const { localAddr } = client;
    assertEquals(JSON.parse(await readAll(client)), { ...localAddr });
  });
}

/** A certificate for a client, by which it is known. */
async function clientCertificate(folder: string): Promise<string> {
  const pem = `${folder}/client.pem`;
  const { code, stderr } = await run("openssl", [
    ...["req", "-x509", "-newkey", "ec", "-pkeyopt"],
    ...["ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"],
    ...[
      "-subj",
      "/CN=mallory",
      "-keyout",
      pem,
      "-out",
      `${folder}/clients.pem`,
    ],
  ]);
  assertEquals(code, 0, stderr);
  return pem;
}

/** What a TLS client is told that wants a name and has a certificate, or none. */
async function askWithTls(port: number, ...args: string[]): Promise<string> {
  await using client = new Process("openssl", [
    ...["s_client", "-quiet", "-connect", `127.0.0.1:${port}`],
    ...["-CAfile", CERT, "-servername", "localhost", ...args],
  ]);
  return (await client.output()).stdout;
}

/** HAProxy ends TLS, and says in the header what it has learnt. */
const WITH_TLS = `
  listen tls
    bind :9876 ssl crt server.pem ca-file clients.pem verify required
    server one 127.0.0.1:9877 send-proxy-v2-ssl-cn proxy-v2-options authority
`;

Deno.test(
  "tlsNames() takes out of HAProxy's header who the client is",
  {
    ignore: missing("haproxy", "openssl"),
  },
  async () => {
    await using folder = new TempDir();
    const { listener, port, config } = behind(
      WITH_TLS,
      (conn) =>
        writeAll(conn, text(JSON.stringify(tlsNames(proxyHeader(conn)!)))),
    );
    await using _listener = listener;
    const key = await clientCertificate(folder.path);
    const server = await Deno.readTextFile(CERT) + await Deno.readTextFile(KEY);
    await Deno.writeTextFile(`${folder.path}/server.pem`, server);
    await using _haproxy = await Proxy.haproxy(
      config.replaceAll(/(server|clients)\.pem/g, `${folder.path}/$&`),
    );
    const args = ["-cert", `${folder.path}/clients.pem`, "-key", key];
    assertEquals(JSON.parse(await askWithTls(port, ...args)), {
      serverName: "localhost",
      commonName: "mallory",
    });
    assertEquals(await askWithTls(port), "");
    assertEquals(listener.stats.accepted, 1);
  },
);

Deno.test("tlsNames() leaves out what the header does not have", () => {
  const proxy = { transport: "tcp", hostname: "192.0.2.1", port: 1 } as const;
  const names = (...tlvs: { type: number; value: Uint8Array }[]) =>
    tlsNames({ version: 2, command: "PROXY", proxy, tlvs });
  assertEquals(names(), {});
  assertEquals(names({ type: 0x20, value: new Uint8Array(4) }), {});
  const short = new Uint8Array([1, 0, 0, 0, 0, 0x22, 0, 9, 97]);
  assertEquals(names({ type: 0x20, value: short }), { commonName: "a" });
});

const LEAVING = "Leaving a load balancer";

/** Starts the recipe's service. */
async function startService(port: number) {
  const main = recipeFile(LEAVING, "main.ts").replace("9877", `${port}`)
    .replace("data: health", "workers: 2, data: health")
    .replace("5000", "Infinity"); // it must not give up
  const service = await startUserProgram({
    "main.ts": `${main}console.log("listening");\n`,
    "worker.ts": recipeFile(LEAVING, "worker.ts"),
  }, "run --allow-net --allow-read=worker.ts main.ts");
  await service.process.line(/^listening$/);
  return service;
}

Deno.test(
  "recipes: a service with workers leaves HAProxy, and no client is lost",
  {
    ignore: !HAS_SIGNALS || missing("haproxy"),
  },
  async () => {
    const [one, two, port] = [freePort(), freePort(), freePort()];
    await using first = await startService(one);
    await using _second = await startService(two);
    const config = recipe(LEAVING, "haproxy").replace("9877", `${one}`)
      .replace("9878", `${two}`).replace(":9876", `127.0.0.1:${port}`);
    await using _haproxy = await Proxy.haproxy(config);
    let isOver = false, answered = 0, lost = 0;
    const clients = Array.from({ length: 4 }, async () => {
      while (!isOver) {
        try {
          using client = await Deno.connect({ hostname: "127.0.0.1", port });
          if (await roundTrip(client, "hello") === "hello") answered++;
          else lost++;
        } catch {
          lost++;
        }
      }
    });
    const fiftyMore = (before = answered) =>
      until(() => answered > before + 50);
    await fiftyMore();
    first.process.kill("SIGTERM");
    const { code, stderr } = await first.process.output();
    await fiftyMore();
    isOver = true;
    await Promise.all(clients);
    assertEquals([code, stderr, lost], [0, "", 0]);
  },
);
