/** The server's side of TLS on an accepted connection, by `node:tls`. */
import type { Server, TLSSocket } from "node:tls";
import { nextTurn } from "../util/event_loop.ts";
import { ClientCertificates } from "./client_certificates.ts";
import { LAST_CALL } from "./last_call.ts";
import { pickContext, type SniCallback } from "./server_names.ts";
import { emitOn, viewOf } from "./server_view.ts";
import { Wire } from "./wire.ts";

/** What a server of `node:tls` has beside its types. */
interface TlsServer extends Server {
  readonly requestCert?: boolean;
  readonly rejectUnauthorized?: boolean;
  readonly _SNICallback?: SniCallback;
  readonly _sharedCreds?: object;
}

/** A connection whose handshake is complete. */
export interface Secure {
  /** What decrypts. Its `authorized` can be trusted. */
  socket: TLSSocket;
  /** The connection below it. */
  wire: Wire;
}

/** Makes the handshakes of a server, on connections that it has not accepted itself. */
export class Handshakes {
  readonly #server: TlsServer;
  readonly #certificates = new ClientCertificates();

  /** @param server The server, or a view of it. */
  constructor(server: Server) {
    this.#server = server;
  }

  /**
   * Makes a handshake.
   *
   * @param conn The connection. It is closed with what this gives.
   * @param signal Aborted when clients that say nothing are to leave.
   * @returns Undefined if the handshake has failed. The connection is closed then.
   */
  async make(
    conn: Deno.Conn,
    signal: AbortSignal,
  ): Promise<Secure | undefined> {
    const wire = new Wire(conn);
    const server = this.#server;
    let context = server._sharedCreds;
    const names = server._SNICallback &&
      pickContext(server._SNICallback, wire, (picked) => context = picked);
    let isSecure = false;
    // TLSSocket takes no notice of a client that ends before the handshake does.
    wire.once("end", async () => {
      await nextTurn(() => !isSecure); // what came with the end has its effect
      if (!isSecure) wire.cut();
    });
    const { promise, resolve } = Promise.withResolvers<TLSSocket | undefined>();
    const view = viewOf(server, (event, args) => {
      if (event === "tlsClientError") wire.destroy();
      if (event !== "secureConnection") return false;
      const socket = args[0] as TLSSocket;
      isSecure = true;
      wire.follow(socket.on("error", ignore));
      resolve(socket);
      return true;
    }, { _SNICallback: { value: names } });
    wire.finished.then(() => resolve(undefined));
    using _ = lastCall(wire, signal);
    emitOn(view, "connection", wire);
    const socket = await promise;
    const isWanted = socket !== undefined && this.#isWanted(socket, context);
    return isWanted ? { socket, wire } : undefined;
  }

  /** Looks at the client's certificate, where one is asked for. */
  #isWanted(socket: TLSSocket, context: object | undefined): boolean {
    const { requestCert, rejectUnauthorized } = this.#server;
    socket.authorized = requestCert !== false &&
      this.#certificates.isAuthorized(socket, context);
    const isRequired = requestCert !== false && rejectUnauthorized !== false;
    const isWanted = socket.authorized || !isRequired;
    if (!isWanted) socket.destroy();
    return isWanted;
  }
}

/** Reads and writes reject with the error. */
function ignore(): void {}

/** Closes a connection some time after the signal, until disposed of. */
function lastCall(wire: Wire, signal: AbortSignal): Disposable {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const begin = () => {
    timer = setTimeout(() => wire.cut(), LAST_CALL);
  };
  if (signal.aborted) begin();
  else signal.addEventListener("abort", begin);
  return {
    [Symbol.dispose]() {
      clearTimeout(timer);
      signal.removeEventListener("abort", begin);
    },
  };
}
