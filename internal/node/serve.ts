/** A server of Node's, or a function that takes a socket, as a listener's callback. */
import { Server as HttpServer } from "node:http";
import { Server as HttpsServer } from "node:https";
import { Server } from "node:net";
import { Server as TlsServer } from "node:tls";
import type { ConnListener } from "../../listener.ts";
import type { ConnectionCallback } from "../options.ts";
import { within } from "../util/within.ts";
import { addressesOf } from "./addresses.ts";
import { Handshakes, type Secure } from "./handshake.ts";
import { type Below, HttpConns, type HttpSocket } from "./http_conns.ts";
import { LAST_CALL } from "./last_call.ts";
import { NodeSocket } from "./node_socket.ts";
import { emitOn, viewOf } from "./server_view.ts";
import { TlsConn } from "./tls_conn.ts";
import { checkVersion } from "./tls_options.ts";

// deno-lint-ignore no-explicit-any
type Any = any;
/** What is asked of a listener here. */
type Listener = Pick<ConnListener<Deno.Conn>, "signal" | "finished">;

/** A callback that gives each connection to a function, as a socket. */
export function socketCallback<C extends Deno.Conn, D>(
  handle: (socket: NodeSocket, listener: ConnListener<C>, data: D) => unknown,
): ConnectionCallback<C, D> {
  return async (conn, listener, data) => {
    const socket = new NodeSocket(conn);
    const handled = Promise.try(handle, socket, listener, data);
    await Promise.race([socket.finished, handled.then(() => socket.finished)]);
    // It may have something to finish, or wait for what cannot come any more.
    const isDone = await within(LAST_CALL, Promise.allSettled([handled]));
    if (isDone) await handled;
  };
}

/** A callback that gives each connection to a server. */
export function serverCallback(
  server: Server,
): (conn: Deno.Conn, listener: Listener) => Promise<void> {
  if (server instanceof TlsServer) checkVersion();
  if (isHttp(server)) checkHttp();
  const services = new WeakMap<Listener, Service>();
  return async (conn, listener) => {
    let service = services.get(listener);
    if (service === undefined) {
      service = new Service(server, listener);
      services.set(listener, service);
    }
    await service.serve(conn);
  };
}

function isHttp(server: Server): boolean {
  return server instanceof HttpServer || server instanceof HttpsServer;
}

/** In older versions, `node:http` takes no connections. */
function checkHttp(): void {
  if (HttpServer.prototype instanceof Server) return;
  throw new Deno.errors.NotSupported(
    `Cannot serve HTTP as it needs Deno 2.8 or later: this is ${Deno.version.deno}`,
  );
}

/** What a `net.Server` has beside its types. */
interface SocketSettings {
  readonly allowHalfOpen?: boolean;
  readonly noDelay?: boolean;
  readonly keepAlive?: boolean;
}

/** A server as it serves the connections of one listener. */
class Service {
  readonly #view: Server & SocketSettings;
  readonly #signal: AbortSignal;
  readonly #http: HttpConns | undefined;
  readonly #handshakes: Handshakes | undefined;

  constructor(server: Server, { signal, finished }: Listener) {
    this.#signal = signal;
    this.#view = viewOf(server, (event, args) => this.#hear(event, args), {
      _handle: { value: null }, // the server's own socket is not ours
    });
    if (isHttp(server)) this.#http = new HttpConns(signal);
    if (server instanceof TlsServer) {
      this.#handshakes = new Handshakes(this.#view as TlsServer);
    }
    // Now it looks at its timeouts, if it does not listen itself.
    if (!isHttp(server) || server.listening) return;
    emitOn(this.#view, "listening");
    finished.then(() => this.#view.close());
  }

  /** What happens to the view does not happen to the server: it does not listen. */
  #hear(event: string | symbol, args: readonly Any[]): boolean {
    switch (event) {
      case "request":
      case "checkContinue":
      case "checkExpectation":
        this.#http?.request(args[0], args[1]);
        return false;
      default:
        return event === "close";
    }
  }

  /** Serves a connection to its end. */
  async serve(conn: Deno.Conn): Promise<void> {
    const isDecrypted = conn instanceof TlsConn;
    if (isDecrypted) return await this.#serveTls("connection", conn);
    if (this.#handshakes === undefined) return await this.#serve(conn);
    const secure = await this.#handshakes.make(conn, this.#signal);
    if (secure) await this.#serveTls("secureConnection", secure);
  }

  async #serve(conn: Deno.Conn): Promise<void> {
    const { allowHalfOpen, noDelay, keepAlive } = this.#view;
    const socket = new NodeSocket(conn, { allowHalfOpen });
    if (noDelay) socket.setNoDelay();
    if (keepAlive) socket.setKeepAlive(true);
    this.#connect("connection", socket, socket);
    await socket.finished;
  }

  async #serveTls(event: string, { socket, wire }: Secure): Promise<void> {
    socket.allowHalfOpen = this.#view.allowHalfOpen ?? false;
    for (const [name, value] of Object.entries(addressesOf(wire.conn))) {
      Object.defineProperty(socket, name, { value }); // it has none on a stream
    }
    this.#connect(event, socket, wire);
    await wire.finished;
  }

  #connect(event: string, socket: HttpSocket, below: Below): void {
    this.#http?.add(socket, below);
    emitOn(this.#view, event, socket);
  }
}
