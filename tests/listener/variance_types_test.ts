/** What the types say of listeners and options where others are expected. */
import { assertEquals } from "@std/assert";
import {
  type AcceptErrorCallback,
  ConnListener,
  listen,
  type ListenerOptions,
  listenTls,
} from "@evconn/listener";
import { connect, readAll } from "../helpers/clients.ts";

/** Reads of a listener what all of them have. */
function ofAny(listener: ConnListener<Deno.Conn>): number {
  const { holds, state, socket, addr } = listener;
  return [holds, state, socket, addr, ...listener.connections].length;
}

// None of these is ever called: it is tested by this file's being compiled.
function _listeners(
  tcp: ConnListener<Deno.TcpConn>,
  unix: ConnListener<Deno.UnixConn>,
  vsock: ConnListener<Deno.VsockConn>,
  tls: ConnListener<Deno.TlsConn>,
) {
  const all: ConnListener<Deno.Conn>[] = [tcp, unix, vsock, tls];
  all.push(listen({ port: 0 }), listen({ transport: "unix", path: "" }));
  all.push(listenTls({ port: 0, cert: "", key: "" }));
  // @ts-expect-error: not every connection is TCP's
  const narrow: ConnListener<Deno.TcpConn> = all[0]!;
  // @ts-expect-error: TCP is not TLS
  const other: ConnListener<Deno.TlsConn> = tcp;
  return [ofAny(tcp), ofAny(tls), narrow, other];
}

// The compiler is told to tell "not given" from undefined.
function _options(max: number | undefined, callback?: () => void) {
  const maybe: ListenerOptions = {
    flags: max,
    maxConnections: max,
    overflow: max ? "reject" : undefined,
    maxConnectionsPerPeer: max,
    admit: callback && (() => true),
    onReject: callback,
    proxyProtocol: max ? true : undefined,
    handshakeTimeout: max,
    idleTimeout: max,
    noDelay: max ? true : undefined,
    keepAlive: max ? true : undefined,
    signal: max ? AbortSignal.timeout(max) : undefined,
    onAcceptError: callback,
    onConnectionError: callback,
  };
  const not: ListenerOptions = {
    flags: null,
    maxConnections: null,
    overflow: null,
    maxConnectionsPerPeer: null,
    admit: null,
    onReject: null,
    proxyProtocol: null,
    handshakeTimeout: null,
    idleTimeout: null,
    noDelay: null,
    keepAlive: null,
    signal: null,
    onAcceptError: null,
    onConnectionError: null,
  };
  const listener = listen({ port: 0, ...maybe, ...not });
  new ConnListener(Deno.listen({ port: 0 }), not);
  listener.shutdown({ timeout: max, drainBacklog: max ? true : undefined });
  // @ts-expect-error: a number
  listen({ port: 0, maxConnections: "1" });
}

interface Config {
  name: string;
}

function _errorCallbacks(listener: ConnListener, config: Config) {
  const told: AcceptErrorCallback<Deno.TcpConn, Config> = (_, __, { name }) =>
    console.error(name);
  listener.setErrorCallback(told);
  listener.setErrorCallback((error) => console.error(error));
  listener.setErrorCallback(null);
  // @ts-expect-error: it gets an Error
  listener.setErrorCallback((error: number) => console.error(error));
  return config;
}

function _constructor(socket: Deno.TcpListener, config: Config) {
  const greet = (_conn: Deno.TcpConn, _: unknown, { name }: Config) => name;
  new ConnListener(socket, {}, greet, config);
  // @ts-expect-error: this is not what the callback wants
  new ConnListener(socket, {}, greet, { title: "" });
  // @ts-expect-error: nor is this
  new ConnListener(socket, {}, greet, null);
  // @ts-expect-error: the callback wants data
  new ConnListener(socket, {}, greet);
}

Deno.test("null is the same as not given for every option", async () => {
  const names = [
    ...["flags", "maxConnections", "overflow", "maxConnectionsPerPeer"],
    ...["admit", "onReject", "proxyProtocol", "handshakeTimeout"],
    ...["idleTimeout", "noDelay", "keepAlive", "signal"],
    ...["onAcceptError", "onConnectionError"],
  ];
  const options = Object.fromEntries(names.map((name) => [name, null]));
  await using listener = listen(
    { hostname: "127.0.0.1", port: 0, ...options as ListenerOptions },
    (conn) => conn.write(new TextEncoder().encode("hello")),
  );
  assertEquals(listener.maxConnections, Infinity);
  assertEquals(await readAll(await connect(listener)), "hello");
});
