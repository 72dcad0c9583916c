/** What the types say of a callback's data, and of its result. */
import { assertEquals } from "@std/assert";
import {
  type ConnectionCallback,
  ConnListener,
  listen,
  listenTls,
} from "@evconn/listener";
import { connect, readAll } from "../helpers/clients.ts";

interface Config {
  version: number;
}
const CONFIG: Config = { version: 1 };
const TCP = { port: 0 };
const UNIX = { transport: "unix", path: "" } as const;
const VSOCK = { transport: "vsock", cid: -1, port: 1 } as const;
const TLS = { port: 0, cert: "", key: "" };

/** A callback that cannot do without its data. */
const show = async (conn: Deno.Conn, _: unknown, { version }: Config) => {
  await conn.write(new Uint8Array([version]));
};

// None of these is ever called: it is tested by this file's being compiled.
function _missing(listener: ConnListener, socket: Deno.TcpListener) {
  // @ts-expect-error: the callback wants data
  listen(TCP, show);
  // @ts-expect-error: the callback wants data
  listen(UNIX, show);
  // @ts-expect-error: the callback wants data
  listen(VSOCK, show);
  // @ts-expect-error: the callback wants data
  listenTls(TLS, show);
  // @ts-expect-error: the callback wants data
  listener.setCallback(show);
  // @ts-expect-error: undefined is not what it wants
  listen(TCP, show, undefined);
  // @ts-expect-error: the type of the parameter says what it wants
  listen(TCP, async (_conn, _listener, data: Config) => await data.version);
  return socket;
}

function _given(listener: ConnListener) {
  listen(TCP, show, CONFIG);
  listen(UNIX, show, CONFIG);
  listen(VSOCK, show, CONFIG);
  listenTls(TLS, show, CONFIG);
  listener.setCallback(show, CONFIG);
  const typed: ConnectionCallback<Deno.TcpConn, Config> = show;
  listen(TCP, typed, CONFIG);
  listener.setCallback(typed, CONFIG);
  // @ts-expect-error: this is not what the callback wants
  listen(TCP, show, { version: "1" });
}

function _optional(listener: ConnListener) {
  const mayDoWithout = (_conn: Deno.Conn, _: unknown, data?: Config) =>
    data?.version;
  listen(TCP, mayDoWithout);
  listen(TCP, mayDoWithout, CONFIG);
  listener.setCallback(mayDoWithout);
  listener.setCallback(null);
  listen(TCP, null);
  listen(TCP, undefined);
  listen(TCP);
}

function _results(bytes: Uint8Array<ArrayBuffer>, listener: ConnListener) {
  listen(TCP, (conn) => conn.write(bytes));
  listen(UNIX, (conn) => conn.write(bytes));
  listen(VSOCK, (conn) => conn.write(bytes));
  listenTls(TLS, (conn) => conn.handshake());
  listen(TCP, (conn) => conn.readable.pipeTo(conn.writable));
  listen(TCP, (conn) => [conn].push(conn));
  listen(TCP, (conn) => conn.close());
  listen(TCP, async (conn) => await conn.write(bytes));
  listen(TCP, (conn, _, data) => Promise.all([conn.write(bytes), data]));
  listener.setCallback((conn) => conn.write(bytes));
  new ConnListener(Deno.listen(TCP), {}, (conn) => conn.write(bytes));
  const typed: ConnectionCallback = (conn) => conn.write(bytes);
  return typed;
}

Deno.test("listen() gives its callback the data, whatever the callback returns", async () => {
  await using listener = listen(
    { hostname: "127.0.0.1", port: 0 },
    (conn, _, text) => conn.write(new TextEncoder().encode(text)),
    "data",
  );
  assertEquals(await readAll(await connect(listener)), "data");
});
