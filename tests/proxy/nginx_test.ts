/** `proxyProtocol` behind a real nginx, with its stream module. */
import { assertEquals } from "@std/assert";
import { freePort } from "../helpers/free_port.ts";
import { proxyHeader } from "@evconn/listener";
import { readAll } from "../helpers/clients.ts";
import { writeAll } from "../helpers/faults.ts";
import { missingAddress } from "../helpers/machine.ts";
import {
  acceptFrom,
  assertEchoes,
  listenBehindProxy,
  missingNginxStream,
  Proxy,
} from "../helpers/proxies.ts";

const noNginx = missingNginxStream();
const noIpv6 = missingAddress("::1");

const text = (bytes: string) => new TextEncoder().encode(bytes);

for (const hostname of ["127.0.0.1", "[::1]"]) {
  Deno.test({
    name: `listen() has the client's address behind nginx on ${hostname}`,
    ignore: noNginx || (hostname === "[::1]" && noIpv6),
    async fn() {
      await using listener = listenBehindProxy();
      const port = freePort();
      await using _nginx = await Proxy.nginx(`server {
        listen ${hostname}:${port};
        proxy_pass 127.0.0.1:${listener.addr.port};
        proxy_protocol on;
      }`);
      const host = hostname.replace(/[[\]]/g, "");
      using client = await Deno.connect({ hostname: host, port });
      using conn = await acceptFrom(listener, client);
      const { version, command } = proxyHeader(conn)!;
      assertEquals([version, command], [1, "PROXY"]);
      await assertEchoes(conn, client);
    },
  });
}

Deno.test({
  name: "listen() has an IPv4 client's address behind nginx on [::]",
  ignore: noNginx || noIpv6,
  async fn() {
    await using listener = listenBehindProxy();
    const port = freePort();
    await using _nginx = await Proxy.nginx(`server {
      listen [::]:${port} ipv6only=off;
      proxy_pass 127.0.0.1:${listener.addr.port};
      proxy_protocol on;
    }`);
    using client = await Deno.connect({ hostname: "127.0.0.1", port });
    using conn = await listener.accept();
    assertEquals(conn.remoteAddr, {
      ...client.localAddr,
      hostname: "::ffff:127.0.0.1",
    });
  },
});

Deno.test({
  name:
    "listen() has an IPv6 client's address behind nginx on 127.0.0.1 that " +
    "has it from another proxy",
  ignore: noNginx,
  async fn() {
    await using listener = listenBehindProxy();
    const port = freePort();
    await using _nginx = await Proxy.nginx(`server {
      listen 127.0.0.1:${port} proxy_protocol;
      set_real_ip_from 127.0.0.1;
      proxy_pass 127.0.0.1:${listener.addr.port};
      proxy_protocol on;
    }`);
    using proxy = await Deno.connect({ hostname: "127.0.0.1", port });
    const line = "PROXY TCP6 2001:db8::1 2001:db8::2 50000 443\r\n";
    await writeAll(proxy, text(`${line}hello`));
    using conn = await listener.accept();
    // A line of both families: the client's and that of nginx itself.
    assertEquals(conn.remoteAddr, {
      transport: "tcp",
      hostname: "2001:db8::1",
      port: 50000,
    });
    assertEquals(conn.localAddr, proxy.remoteAddr);
    await proxy.closeWrite();
    assertEquals(await readAll(conn), "hello");
  },
});
