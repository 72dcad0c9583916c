/** Clients that show a certificate, and clients that resume a session of somebody else's. */
import { assertEquals } from "@std/assert";
import { type ConnListener, listen } from "@evconn/listener";
import {
  type ServedTlsConn,
  serveNode,
  serveTls,
  type ServeTlsOptions,
} from "@evconn/listener/node";
import { createServer as createHttpsServer } from "node:https";
import {
  connect as nodeConnectTls,
  createSecureContext,
  createServer,
  type Server,
  type TLSSocket,
} from "node:tls";
import { until } from "../helpers/clients.ts";
import { Process } from "../helpers/example_process.ts";
import { missing } from "../helpers/missing.ts";
import { TempDir } from "../helpers/temp_dir.ts";
import { AUTHORITY, certificate, pair } from "../helpers/tls_certificates.ts";

const HERE = { hostname: "127.0.0.1", port: 0 };
const ONE = pair("one.test");
const ASKS = { ...ONE, requestCert: true, rejectUnauthorized: false };
const REQUIRES = { ...ONE, requestCert: true, ca: AUTHORITY };
const NO_OPENSSL = missing("openssl");
const TESTDATA = `${import.meta.dirname}/../testdata/tls/`;

/** Says who the server takes a client for. */
function tell(conn: ServedTlsConn): Promise<number> {
  const name = conn.peerCertificate?.subject ?? "nobody";
  const text = `${conn.authorized ? "authorized" : "unauthorized"} ${name}\n`;
  return conn.write(new TextEncoder().encode(text));
}

function start(options: ServeTlsOptions | Server): ConnListener {
  return listen(HERE, serveTls(options, tell));
}

/** What a server says to a client of openssl's; "" if it closes the connection. */
async function ask(
  { addr: { port } }: { addr: Deno.NetAddr },
  version: string,
  { as, saves, resumes }: { as?: string; saves?: string; resumes?: string },
): Promise<string> {
  const args = ["s_client", "-connect", `127.0.0.1:${port}`, version, "-quiet"];
  args.push("-servername", "one.test", "-no_ign_eof");
  if (as) args.push("-cert", `${as}.crt`, "-key", `${as}.key`);
  if (saves) args.push("-sess_out", saves);
  if (resumes) args.push("-sess_in", resumes);
  await using client = new Process("openssl", args, {}, undefined, TESTDATA);
  const line = await client.line().catch(() => "");
  return line;
}

for (const version of ["-tls1_2", "-tls1_3"]) {
  Deno.test(
    `serveTls() lets in only who has shown a good certificate, with ${version}`,
    {
      ignore: NO_OPENSSL,
    },
    async () => {
      await using listener = start(REQUIRES);
      const alice = await ask(listener, version, { as: "alice" });
      assertEquals(alice, "authorized CN=alice");
      assertEquals(await ask(listener, version, {}), "");
      assertEquals(await ask(listener, version, { as: "mallory" }), "");
      await until(() => listener.stats.active === 0);
      assertEquals(listener.stats.connectionErrors, 0);
    },
  );

  Deno.test(
    `serveTls() says who has shown a good certificate where none is required, with ${version}`,
    {
      ignore: NO_OPENSSL,
    },
    async () => {
      await using listener = start({ ...ASKS, ca: AUTHORITY });
      const told = (client: { as?: string }) => ask(listener, version, client);
      assertEquals(await told({ as: "alice" }), "authorized CN=alice");
      assertEquals(await told({ as: "mallory" }), "unauthorized CN=mallory");
      assertEquals(await told({}), "unauthorized nobody");
    },
  );

  Deno.test(
    `serveTls() trusts no session of a server without certificates, with ${version}`,
    {
      ignore: NO_OPENSSL,
    },
    async () => {
      await using dir = new TempDir();
      const session = `${dir.path}/session`;
      await using other = start(ONE);
      await using listener = start(REQUIRES);
      await using asks = start({ ...ASKS, ca: AUTHORITY });
      const first = await ask(other, version, { saves: session });
      assertEquals(first, "unauthorized nobody");
      assertEquals(await ask(listener, version, { resumes: session }), "");
      const asked = await ask(asks, version, { resumes: session });
      assertEquals(asked, "unauthorized nobody");
    },
  );

  Deno.test(
    `serveTls() trusts no certificate that only another server has seen, with ${version}`,
    {
      ignore: NO_OPENSSL,
    },
    async () => {
      await using dir = new TempDir();
      const session = `${dir.path}/session`;
      await using other = start(ASKS); // it has no authority to verify with
      await using listener = start(REQUIRES);
      await using asks = start({ ...ASKS, ca: AUTHORITY });
      for (const as of ["mallory", "alice"]) {
        const first = await ask(other, version, { as, saves: session });
        assertEquals(first, `unauthorized CN=${as}`);
        assertEquals(await ask(listener, version, { resumes: session }), "");
        const asked = await ask(asks, version, { resumes: session });
        assertEquals(asked, "unauthorized nobody");
      }
    },
  );

  Deno.test(
    `serveTls() resumes sessions of clients that it has verified, until a renewal, with ${version}`,
    {
      ignore: NO_OPENSSL,
    },
    async () => {
      await using dir = new TempDir();
      const session = `${dir.path}/session`;
      const server = createServer(REQUIRES);
      await using listener = start(server);
      const alice = { as: "alice", saves: session };
      assertEquals(await ask(listener, version, alice), "authorized CN=alice");
      const resumed = await ask(listener, version, { resumes: session });
      assertEquals(resumed, "authorized CN=alice");
      server.setSecureContext({ ...ONE, ca: certificate("stranger") });
      assertEquals(await ask(listener, version, { resumes: session }), "");
      assertEquals(await ask(listener, version, { as: "alice" }), "");
      const mallory = await ask(listener, version, { as: "mallory" });
      assertEquals(mallory, "authorized CN=mallory");
    },
  );

  Deno.test(
    `serveTls() forgets when SNICallback picks another context, with ${version}`,
    {
      ignore: NO_OPENSSL,
    },
    async () => {
      await using dir = new TempDir();
      const session = `${dir.path}/session`;
      let context = createSecureContext({ ...ONE, ca: AUTHORITY });
      await using listener = start({
        ...REQUIRES,
        SNICallback: (_, answer) => answer(null, context),
      });
      const alice = { as: "alice", saves: session };
      assertEquals(await ask(listener, version, alice), "authorized CN=alice");
      const resumed = await ask(listener, version, { resumes: session });
      assertEquals(resumed, "authorized CN=alice");
      context = createSecureContext({ ...ONE, ca: certificate("stranger") });
      assertEquals(await ask(listener, version, { resumes: session }), "");
    },
  );

  Deno.test(
    `serveNode() lets no session of another server into a server of node:https, with ${version}`,
    {
      ignore: NO_OPENSSL,
    },
    async () => {
      await using dir = new TempDir();
      const session = `${dir.path}/session`;
      await using other = start(ONE);
      let requests = 0;
      const server = createHttpsServer(REQUIRES, () => requests++);
      await using listener = listen(HERE, serveNode(server));
      await ask(other, version, { saves: session });
      await ask(listener, version, { resumes: session });
      await until(() => listener.stats.active === 0);
      assertEquals(requests, 0);
    },
  );
}

/** What a server says to a client of `node:tls`; "" if it closes the connection. */
async function askByNode(
  { addr: { hostname: host, port } }: ConnListener,
  client: { cert: string; key: string },
): Promise<string> {
  const socket: TLSSocket = nodeConnectTls({
    host,
    port,
    servername: "one.test",
    ca: AUTHORITY,
    ...client,
  });
  let text = "";
  socket.on("data", (chunk) => text += chunk).on("error", () => {});
  await new Promise((resolve) => socket.on("close", resolve));
  return text.trim();
}

Deno.test("serveTls() trusts no certificate without its key", async () => {
  // Deno does not check signatures by the key of a certificate of X.509 version 1.
  await using listener = start({ ...REQUIRES, ca: certificate("old") });
  assertEquals(await askByNode(listener, pair("old", "mallory")), "");
  await until(() => listener.stats.active === 0);
  assertEquals(listener.stats.connectionErrors, 0);
});

Deno.test("serveTls() trusts a certificate that is its own authority, until it expires", async () => {
  const ca = [certificate("self"), certificate("expired")];
  await using listener = start({ ...REQUIRES, ca });
  const self = await askByNode(listener, pair("self"));
  assertEquals(self, "authorized CN=self");
  assertEquals(await askByNode(listener, pair("expired", "self")), "");
});
