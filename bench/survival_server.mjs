/**
 * The servers of `survival.ts`: one echo server, made in the five ways that are
 * compared. Plain JavaScript, because Node runs it as well.
 *
 *   survival_server.mjs KIND MODE [CERT KEY]
 *
 * The modes: "plain"; "blocked", its event loop blocked half of the time; "limits",
 * at most 50 connections, and none of them silent for longer than 1 s, where the
 * kind has means for that; "no-timeout", the same without that second; "serve-tls", the
 * same with `serveTls()`; "proxy", the same behind a proxy that sends a PROXY
 * header within 1 s; "crowd", at most 1,000, and 50 of one client, where it has means;
 * "full", at most 50, and others are told that there is no room;
 * "awaited" and "unawaited", with a handler that catches nothing.
 *
 * The others' handlers take whatever reading and writing throws at them, in every kind
 * alike: what differs is how the connections are come by. A client that sends
 * "bug" meets a handler that fails.
 */
import { readFileSync } from "node:fs";
import net from "node:net";
import process from "node:process";
import tls from "node:tls";

const [kind, mode, certFile, keyFile] = process.argv.slice(2);
const bind = { hostname: "127.0.0.1", port: 0 };
const certificate = certFile && {
  cert: readFileSync(certFile, "utf8"),
  key: readFileSync(keyFile, "utf8"),
};

const LIMIT = 50;
const CROWD = 1000;
const PATIENCE = 1000; // ms

const SORRY = new TextEncoder().encode(
  "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\nConnection: close\r\n\r\nfull\n",
);

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

let served = 0;

/** What a loop does that has a limit: it tells those who are too many, and closes. */
async function echoToSome(conn) {
  if (served >= LIMIT) {
    await conn.write(SORRY).catch(() => {});
    await conn.closeWrite().catch(() => {});
    return conn[Symbol.dispose]();
  }
  served++;
  await echo(conn);
  served--;
}

/** A handler that does not care: whatever reading and writing throws goes on. */
const serve = {
  awaited: carelessEcho,
  unawaited: carelessEcho,
  full: kind === "listener" ? echo : echoToSome,
}[mode] ?? echo;

async function carelessEcho(conn) {
  const buffer = new Uint8Array(16 * 1024);
  for (let length; (length = await conn.read(buffer)) !== null;) {
    for (let sent = 0; sent < length;) {
      sent += await conn.write(buffer.subarray(sent, length));
    }
  }
  conn.close();
}

const denoListen = () =>
  certificate ? Deno.listenTls({ ...bind, ...certificate }) : Deno.listen(bind);

const listenerOptions = {
  limits: { maxConnections: LIMIT, idleTimeout: PATIENCE },
  "no-timeout": { maxConnections: LIMIT },
  "serve-tls": { maxConnections: LIMIT },
  proxy: {
    maxConnections: LIMIT,
    proxyProtocol: true,
    handshakeTimeout: PATIENCE,
  },
  crowd: { maxConnections: CROWD, maxConnectionsPerPeer: LIMIT },
  full: {
    maxConnections: LIMIT,
    overflow: "reject",
    onReject: (conn) => conn.write(SORRY),
  },
};

const kinds = {
  async "for-await"() {
    const listener = denoListen();
    ready(listener.addr.port);
    for await (const conn of listener) {
      const served = serve(conn);
      if (mode === "awaited") await served;
    }
  },

  async "try-catch"() {
    const listener = denoListen();
    ready(listener.addr.port);
    for (;;) {
      try {
        const served = serve(await listener.accept());
        if (mode === "awaited") await served;
      } catch {
        // That one did not work. The next one may.
      }
    }
  },

  net() {
    const onConnection = (socket) => {
      if (mode !== "unawaited") socket.on("error", () => {});
      if (mode === "full") {
        if (served >= LIMIT) return socket.resume().end(SORRY);
        served++;
        socket.on("close", () => served--);
      }
      socket.on("data", (bytes) => {
        if (isBug(bytes)) throw new Error("a bug in a handler");
      });
      socket.pipe(socket); // waits for the client, as the other handlers do
      if (mode === "limits") {
        socket.setTimeout(PATIENCE, () => socket.destroy());
      }
    };
    const server = certificate
      ? tls.createServer({
        ...certificate,
        ...mode === "limits" && { handshakeTimeout: PATIENCE },
      }, onConnection)
      : net.createServer(onConnection);
    if (["limits", "no-timeout"].includes(mode)) server.maxConnections = LIMIT;
    if (mode === "limits") {
      server.on("tlsClientError", (_, socket) => socket.destroy());
    }
    if (mode === "crowd") server.maxConnections = CROWD;
    server.listen(bind.port, bind.hostname, () => ready(server.address().port));
  },

  async listener() {
    const { listen, listenTls } = await import("@evconn/listener");
    const options = {
      onConnectionError() {},
      onAcceptError() {},
      ...listenerOptions[mode],
    };
    const callback = mode === "unawaited" ? (conn) => void serve(conn) : serve;
    if (mode === "serve-tls") {
      const { serveTls } = await import("@evconn/listener/node");
      const secure = { ...certificate, handshakeTimeout: PATIENCE };
      const { addr } = listen({ ...bind, ...options }, serveTls(secure, serve));
      return ready(addr.port);
    }
    const listener = certificate
      ? listenTls({ ...bind, ...certificate, ...options }, callback)
      : listen({ ...bind, ...options }, callback);
    ready(listener.addr.port);
  },
};

function ready(port) {
  console.log(`port ${port}`);
}

if (mode === "blocked") {
  // Asleep, so that the CPU time is what the clients cost.
  const never = new Int32Array(new SharedArrayBuffer(4));
  setInterval(() => Atomics.wait(never, 0, 0, 20), 40);
}
await kinds[kind]();
