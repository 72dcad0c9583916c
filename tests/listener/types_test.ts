/** What the types say. It is tested by this file's being compiled. */
import { assert } from "@std/assert";
import {
  type AcceptErrorCallback,
  type ConnectionCallback,
  ConnListener,
  listen,
  type ListenerOptions,
  listenTls,
} from "@evconn/listener";

/** Compiles if the two types are the same. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends
  (<T>() => T extends B ? 1 : 2) ? true : false;
const same = <_T extends true>(): void => {};

// Never called: making sockets is not what is tested here.
function _connections() {
  listen({ port: 0 }, (conn, listener, data) => {
    same<Same<typeof conn, Deno.TcpConn>>();
    same<Same<typeof listener, ConnListener<Deno.TcpConn>>>();
    same<Same<typeof listener.addr, Deno.NetAddr>>();
    same<Same<typeof data, undefined>>();
  });
  listen({ port: 0, transport: "tcp" }, (conn) => conn.setNoDelay());
  listen({ port: 0 }, async (_conn, _listener, data) => {
    same<Same<typeof data, { hits: number }>>();
    await Promise.resolve();
  }, { hits: 0 });
  listen({
    transport: "unix",
    path: "",
    onConnectionError: (_error, conn, listener) => {
      same<Same<typeof conn, Deno.UnixConn>>();
      same<Same<typeof listener.addr, Deno.UnixAddr>>();
    },
    onAcceptError: (error, listener, data) => {
      same<Same<typeof error, Error>>();
      same<Same<typeof listener, ConnListener<Deno.UnixConn>>>();
      same<Same<typeof data, unknown>>();
    },
  }, (conn, listener) => {
    same<Same<typeof conn, Deno.UnixConn>>();
    same<Same<typeof listener.addr, Deno.UnixAddr>>();
  });
  listen({ transport: "vsock", cid: -1, port: 1 }, (conn) => {
    same<Same<typeof conn, Deno.VsockConn>>();
  });
  listenTls({ port: 0, cert: "", key: "" }, async (conn) => {
    same<Same<typeof conn, Deno.TlsConn>>();
    await conn.handshake();
  });
  // @ts-expect-error: a Unix connection has no Nagle algorithm to turn off
  listen({ transport: "unix", path: "" }, (conn) => conn.setNoDelay());
  // @ts-expect-error: a path is not for TCP
  listen({ transport: "tcp", path: "" });
  // @ts-expect-error: only these two
  listen({ port: 0, overflow: "drop" });
}

async function _listeners() {
  const tcp: Deno.TcpListener = listen({ port: 0 });
  const unix: Deno.UnixListener = listen({ transport: "unix", path: "" });
  const vsock: Deno.VsockListener = listen({
    transport: "vsock",
    cid: -1,
    port: 1,
  });
  const tls: Deno.TlsListener = listenTls({ port: 0, cert: "", key: "" });
  const any: Deno.Listener[] = [tcp, unix, vsock, tls];
  // @ts-expect-error: TCP is not TLS
  const wrong: Deno.TlsListener = listen({ port: 0 });

  const adopted = new ConnListener(
    Deno.listen({ transport: "unix", path: "" }),
  );
  same<Same<typeof adopted, ConnListener<Deno.UnixConn, Deno.UnixAddr>>>();
  same<Same<typeof adopted.addr, Deno.UnixAddr>>();
  new ConnListener(tls, {}, (conn, listener) => {
    same<Same<typeof conn, Deno.TlsConn>>();
    same<Same<typeof listener, ConnListener<Deno.TlsConn>>>();
  });
  const generic = new ConnListener(any[0]!);
  same<Same<Awaited<ReturnType<typeof generic.accept>>, Deno.Conn>>();

  await using disposable: AsyncDisposable & Disposable = listen({ port: 0 });
  for await (const conn of listen({ port: 0 })) {
    same<Same<typeof conn, Deno.TcpConn>>();
  }
  return [wrong, disposable];
}

function _swaps(listener: ConnListener, unix: ConnListener<Deno.UnixConn>) {
  listener.setCallback((_conn, _listener, data) => {
    same<Same<typeof data, number>>();
  }, 5);
  listener.setCallback(null);
  // @ts-expect-error: the callback wants text
  listener.setCallback((_conn, _listener, _data: string) => {}, 5);
  unix.setCallback((conn) => same<Same<typeof conn, Deno.UnixConn>>());
  const stop: AcceptErrorCallback = (_error, listener) => listener.close();
  const serve: ConnectionCallback = async (conn) =>
    void await conn.closeWrite();
  const options: ListenerOptions = { onAcceptError: stop };
  listener.setErrorCallback(stop);
  listener.setCallback(serve);
  // @ts-expect-error: read only
  listener.state = "paused";
  return options;
}

Deno.test("a ConnListener is a Deno.Listener in every respect that a program can see", async () => {
  await using listener = listen({ hostname: "127.0.0.1", port: 0 });
  using socket = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  for (const name of ["accept", "close", "ref", "unref", "addr"] as const) {
    assert(typeof listener[name] === typeof socket[name], name);
  }
  assert(Symbol.asyncIterator in listener && Symbol.dispose in listener);
});
