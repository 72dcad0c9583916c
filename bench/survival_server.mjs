/**
 * The servers of `survival.ts`: one echo server, made in the five ways that are
 * compared. Plain JavaScript, because Node runs it as well.
 *
 *   survival_server.mjs KIND [block] [CERT KEY]
 *
 * The handlers take whatever reading and writing throws at them, in every kind
 * alike: what differs is how the connections are come by. A client that sends
 * "bug" meets a handler that fails.
 */
import { readFileSync } from "node:fs";
import net from "node:net";
import process from "node:process";
import tls from "node:tls";

const [kind, block, certFile, keyFile] = process.argv.slice(2);
const bind = { hostname: "127.0.0.1", port: 0 };
const certificate = certFile && {
  cert: readFileSync(certFile, "utf8"),
  key: readFileSync(keyFile, "utf8"),
};

async function echo(conn) {
  const buffer = new Uint8Array(16 * 1024);
  let bug = false;
  try {
    for (let length; !bug && (length = await conn.read(buffer)) !== null;) {
      bug = isBug(buffer);
      for (let sent = 0; sent < length;) {
        sent += await conn.write(buffer.subarray(sent, length));
      }
    }
  } catch {
    // The peer is gone.
  } finally {
    conn[Symbol.dispose]();
  }
  if (bug) throw new Error("a bug in a handler");
}

function isBug([b, u, g]) {
  return b === 0x62 && u === 0x75 && g === 0x67;
}

const denoListen = () =>
  certificate ? Deno.listenTls({ ...bind, ...certificate }) : Deno.listen(bind);

const kinds = {
  async "for-await"() {
    const listener = denoListen();
    ready(listener.addr.port);
    for await (const conn of listener) echo(conn);
  },

  async "try-catch"() {
    const listener = denoListen();
    ready(listener.addr.port);
    for (;;) {
      try {
        echo(await listener.accept());
      } catch {
        // That one did not work. The next one may.
      }
    }
  },

  net() {
    const onConnection = (socket) => {
      socket.on("error", () => {});
      socket.on("data", (bytes) => {
        socket.write(bytes);
        if (isBug(bytes)) throw new Error("a bug in a handler");
      });
    };
    const server = certificate
      ? tls.createServer(certificate, onConnection)
      : net.createServer(onConnection);
    server.listen(bind.port, bind.hostname, () => ready(server.address().port));
  },

  async listener() {
    const { listen, listenTls } = await import("@evconn/listener");
    const quiet = { onConnectionError() {}, onAcceptError() {} };
    const listener = certificate
      ? listenTls({ ...bind, ...certificate, ...quiet }, echo)
      : listen({ ...bind, ...quiet }, echo);
    ready(listener.addr.port);
  },
};

function ready(port) {
  console.log(`port ${port}`);
}

// Deno's first look at signals takes descriptors, and comes some time after the
// start by itself: without any left it panics. Here it is early enough.
process.on("SIGTERM", () => process.exit());

if (block === "block") {
  // Asleep, so that the CPU time is what the clients cost.
  const never = new Int32Array(new SharedArrayBuffer(4));
  setInterval(() => Atomics.wait(never, 0, 0, 20), 40);
}
await kinds[kind]();
