/** `curl --haproxy-protocol`: a client that sends a PROXY header of its own. */
import { assertEquals } from "@std/assert";
import { listen, proxyHeader } from "@evconn/listener";
import { run } from "../helpers/example_process.ts";
import { missing } from "../helpers/missing.ts";

/** Answers an HTTP request with the client's address and port, as it is seen here. */
async function answer(conn: Deno.TcpConn): Promise<void> {
  await conn.read(new Uint8Array(4096));
  const { version, source } = proxyHeader(conn)!;
  const { hostname, port } = conn.remoteAddr;
  const body = `v${version} ${hostname} ${port} ${source?.port}\n`;
  const head = `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n` +
    "Connection: close\r\n\r\n";
  await conn.write(new TextEncoder().encode(head + body));
}

Deno.test({
  name: "listen() reads the header of curl --haproxy-protocol",
  ignore: missing("curl"),
  async fn() {
    const listenOptions = { hostname: "127.0.0.1", port: 0 };
    const proxyProtocol = (proxy: Deno.NetAddr) =>
      proxy.hostname === "127.0.0.1";
    await using listener = listen({ ...listenOptions, proxyProtocol }, answer);
    const url = `http://127.0.0.1:${listener.addr.port}/`;
    const ask = ["--silent", "--noproxy", "*", "--write-out", "%{local_port}"];
    const told = await run("curl", [...ask, "--haproxy-protocol", url]);
    const port = told.stdout.split("\n")[1];
    assertEquals(told.stdout, `v1 127.0.0.1 ${port} ${port}\n${port}`);

    // Without it the request is not read as one, and there is no answer.
    const refused = await run("curl", [...ask, url]);
    assertEquals(refused.stdout.includes("127.0.0.1"), false);
    assertEquals(refused.code === 0, false);
    assertEquals(listener.stats.rejected, 1);
  },
});
