/** An echo over TLS, by the name of what serves it, with a buffer of so many bytes. */
import { readFileSync } from "node:fs";
import { createServer } from "node:tls";

const [name, size, port] = process.argv.slice(2);
const read = (file) =>
  readFileSync(
    new URL(`../../tests/testdata/localhost.${file}`, import.meta.url),
    "utf8",
  );
const pair = { cert: read("crt"), key: read("key") };
const bind = { hostname: "127.0.0.1", port: Number(port) };

/** Sends back what comes. */
async function echo(conn) {
  const buffer = new Uint8Array(Number(size));
  try {
    for (let length; (length = await conn.read(buffer)) !== null;) {
      for (let sent = 0; sent < length;) {
        sent += await conn.write(buffer.subarray(sent, length));
      }
    }
  } catch {
    // The client has gone.
  } finally {
    conn[Symbol.dispose]();
  }
}

const kinds = {
  async "Deno.listenTls"() {
    for await (const conn of Deno.listenTls({ ...bind, ...pair })) echo(conn);
  },
  async listenTls() {
    const { listenTls } = await import("@evconn/listener");
    listenTls({ ...bind, ...pair }, echo);
  },
  async serveTls() {
    const { listen } = await import("@evconn/listener");
    const { serveTls } = await import("@evconn/listener/node");
    listen(bind, serveTls(pair, echo));
  },
  "node:tls"() {
    const server = createServer(pair, (socket) => {
      socket.on("error", () => {});
      socket.pipe(socket);
    });
    server.listen(bind.port, bind.hostname);
  },
};
await kinds[name]();
