/** `proxyProtocol` behind a real HAProxy. */
import { assertEquals, assertMatch } from "@std/assert";
import { freePort } from "../helpers/free_port.ts";
import { type ConnListener, proxyHeader } from "@evconn/listener";
import { CERTIFICATE } from "../helpers/certificate.ts";
import { isClosed, readAll } from "../helpers/clients.ts";
import { writeAll } from "../helpers/faults.ts";
import { missingAddress } from "../helpers/machine.ts";
import { missing } from "../helpers/missing.ts";
import {
  acceptFrom,
  assertEchoes,
  listenBehindProxy,
  Proxy,
} from "../helpers/proxies.ts";
import { TempDir } from "../helpers/temp_dir.ts";

const noHaproxy = missing("haproxy");
const noIpv6 = missingAddress("::1");

const TYPE_CRC32C = 0x03;
const TYPE_UNIQUE_ID = 0x05;
const TYPE_SSL = 0x20;

/** A listener, HAProxy in front of it, and HAProxy's port. */
async function behindHaproxy(
  options: string,
  { hostname = "127.0.0.1", front = "" } = {},
) {
  const listener = listenBehindProxy();
  const port = freePort();
  const haproxy = await Proxy.haproxy(`
    listen echo
      bind ${hostname}:${port} ${front}
      unique-id-format "%ci-%cp"
      server one 127.0.0.1:${listener.addr.port} ${options}
  `);
  return {
    listener,
    haproxy,
    connect: () => Deno.connect({ hostname, port }),
    port,
    async [Symbol.asyncDispose]() {
      await haproxy[Symbol.asyncDispose]();
      await listener.close();
    },
  };
}

/** Whether a connection comes before the listener's end. It is closed. */
function isDelivered(listener: ConnListener): Promise<boolean> {
  return listener.accept().then((conn) => {
    conn.close();
    return true;
  }, () => false);
}

for (
  const [options, version, types] of [
    ["send-proxy", 1, []],
    ["send-proxy-v2", 2, []],
    ["send-proxy-v2 proxy-v2-options crc32c,unique-id", 2, [
      TYPE_CRC32C,
      TYPE_UNIQUE_ID,
    ]],
  ] as const
) {
  for (const hostname of ["127.0.0.1", "::1"]) {
    Deno.test({
      name: `listen() has the client's address behind HAProxy with ` +
        `${options} on ${hostname}`,
      ignore: noHaproxy || (hostname === "::1" && noIpv6),
      async fn() {
        await using test = await behindHaproxy(options, { hostname });
        using client = await test.connect();
        using conn = await acceptFrom(test.listener, client);
        assertEquals(conn.remoteAddr.hostname, hostname);
        const header = proxyHeader(conn)!;
        assertEquals(header.version, version);
        assertEquals(header.command, "PROXY");
        assertEquals(header.source, client.localAddr);
        assertEquals(header.destination, client.remoteAddr);
        assertEquals(header.tlvs.map(({ type }) => type).sort(), [...types]);
        const id = header.tlvs.find(({ type }) => type === TYPE_UNIQUE_ID);
        if (id) {
          assertEquals(
            new TextDecoder().decode(id.value),
            `${hostname}-${client.localAddr.port}`,
          );
        }
        await assertEchoes(conn, client);
      },
    });
  }
}

for (const version of [1, 2] as const) {
  const send = version === 1 ? "send-proxy" : "send-proxy-v2";
  Deno.test({
    name: `listen() answers HAProxy's health check with ${send}`,
    ignore: noHaproxy,
    async fn() {
      const options = `${send} check check-send-proxy inter 50ms fall 1 rise 1`;
      const front = "\n option tcp-check\n tcp-check expect string healthy\n";
      await using test = await behindHaproxy(options, { front });
      using check = await test.listener.accept();
      const { command, source, destination, proxy } = proxyHeader(check)!;
      // Version 1 has no word for it: it comes with the addresses of the check itself.
      assertEquals(command, version === 1 ? "PROXY" : "LOCAL");
      assertEquals(source, version === 1 ? proxy : undefined);
      assertEquals(destination, version === 1 ? check.localAddr : undefined);
      assertEquals(check.remoteAddr, proxy);
      assertEquals(check.localAddr, test.listener.addr);
      await check.write(new TextEncoder().encode("ill"));
      check.close();
      assertMatch(await test.haproxy.errorLine(/Server/), /is DOWN/);
      using next = await test.listener.accept();
      await next.write(new TextEncoder().encode("healthy"));
      assertMatch(await test.haproxy.errorLine(/Server/), /is UP/);
    },
  });
}

Deno.test({
  name: "listen() has the client's address behind HAProxy that ends TLS",
  ignore: noHaproxy,
  async fn() {
    const { cert, key } = CERTIFICATE;
    await using dir = new TempDir();
    const pem = `${dir.path}/localhost.pem`;
    await Deno.writeTextFile(pem, cert + key);
    const options = "send-proxy-v2-ssl-cn proxy-v2-options crc32c,ssl";
    await using test = await behindHaproxy(options, {
      front: `ssl crt ${pem}`,
    });
    using client = await Deno.connectTls({
      hostname: "localhost",
      port: test.port,
      caCerts: [cert],
    });
    using conn = await test.listener.accept();
    assertEquals(conn.remoteAddr, client.localAddr);
    const { tlvs } = proxyHeader(conn)!;
    assertEquals(tlvs.some(({ type }) => type === TYPE_SSL), true);
    await conn.write(new TextEncoder().encode("hello"));
    conn.close();
    assertEquals(await readAll(client), "hello");
  },
});

Deno.test({
  name: "listen() turns HAProxy away if its address is not a trusted one",
  ignore: noHaproxy || missingAddress("127.0.0.2"),
  async fn() {
    await using test = await behindHaproxy("send-proxy-v2 source 127.0.0.2");
    const delivered = isDelivered(test.listener);
    using client = await test.connect();
    assertEquals(await isClosed(client), true);
    assertEquals(test.listener.stats.rejected, 1);
    await test.listener.close();
    assertEquals(await delivered, false);
  },
});

Deno.test({
  name: "listen() turns HAProxy away if it sends no header",
  ignore: noHaproxy,
  async fn() {
    await using test = await behindHaproxy("");
    const delivered = isDelivered(test.listener);
    using client = await test.connect();
    await writeAll(client, new TextEncoder().encode("GET / HTTP/1.0\r\n\r\n"));
    assertEquals(await isClosed(client), true);
    assertEquals(test.listener.stats.rejected, 1);
    await test.listener.close();
    assertEquals(await delivered, false);
  },
});
