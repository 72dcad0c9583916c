/** A socket of `node:tls` as a `Deno.TlsConn`. */
import type { X509Certificate } from "node:crypto";
import type { TLSSocket } from "node:tls";
import type { Secure } from "./handshake.ts";
import { LAST_CALL } from "./last_call.ts";
import { serverNameOf } from "./server_names.ts";
import type { Wire } from "./wire.ts";

/** No record of TLS is longer. */
const CHUNK = 16 * 1024;

/** A connection that {@linkcode serveTls} gives to its callback. */
export interface ServedTlsConn extends Deno.TlsConn {
  /** The name that the client has asked for (SNI), if any. */
  readonly serverName: string | undefined;
  /**
   * The client's certificate, if it has sent one. Anybody can make one: see
   * `authorized`.
   */
  readonly peerCertificate: X509Certificate | undefined;
  /** Whether this server has verified `peerCertificate`. */
  readonly authorized: boolean;
}

/** The connection, around the socket that decrypts. */
export class TlsConn implements ServedTlsConn {
  /** What decrypts. */
  readonly socket: TLSSocket;
  /** The connection below it. */
  readonly wire: Wire;
  #isClosed = false;
  #error: unknown;
  /** Those that wait until there is something to read. */
  #readers: (() => void)[] | undefined;
  #readable: ReadableStream<Uint8Array<ArrayBuffer>> | undefined;
  #writable: WritableStream<Uint8Array<ArrayBufferLike>> | undefined;

  constructor({ socket, wire }: Secure) {
    this.socket = socket;
    this.wire = wire;
    socket.allowHalfOpen = true; // as every Deno.Conn is
    socket.on("error", (error) => this.#error ??= error);
  }

  /** Resolves when there may be something to read. */
  #change(): Promise<void> {
    if (this.#readers === undefined) {
      this.#readers = [];
      const wake = () => this.#wake();
      this.socket.on("readable", wake).on("end", wake).on("close", wake);
    }
    return new Promise((resolve) => this.#readers!.push(resolve));
  }

  #wake(): void {
    for (const resolve of this.#readers?.splice(0) ?? []) resolve();
  }

  get serverName(): string | undefined {
    return serverNameOf(this.socket);
  }

  get authorized(): boolean {
    return this.socket.authorized;
  }

  get peerCertificate(): X509Certificate | undefined {
    // A resumed session may have one that another server has seen.
    if (!this.authorized && this.socket.isSessionReused()) return undefined;
    return this.socket.getPeerX509Certificate();
  }

  get localAddr(): Deno.NetAddr {
    return this.wire.conn.localAddr as Deno.NetAddr;
  }

  get remoteAddr(): Deno.NetAddr {
    return this.wire.conn.remoteAddr as Deno.NetAddr;
  }

  /** The handshake is complete. */
  handshake(): Promise<Deno.TlsHandshakeInfo> {
    return Promise.resolve({ alpnProtocol: this.socket.alpnProtocol || null });
  }

  async read(into: Uint8Array): Promise<number | null> {
    const { socket } = this;
    for (;;) {
      if (this.#isClosed) throw this.#reason();
      const length = Math.min(socket.readableLength, into.length);
      const chunk: Uint8Array | null = socket.read(length);
      if (chunk !== null) into.set(chunk);
      if (chunk !== null || into.length === 0) return length;
      if (socket.readableEnded) return null;
      if (socket.destroyed) throw this.#reason();
      await this.#change();
    }
  }

  write(bytes: Uint8Array): Promise<number> {
    return new Promise((resolve, reject) => {
      if (this.#isClosed) return reject(this.#reason());
      if (bytes.length === 0) return resolve(0);
      this.socket.write(bytes, (error) => {
        if (error) reject(this.#reason());
        else resolve(bytes.length);
      });
    });
  }

  closeWrite(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.socket.end(() => {
        if (this.socket.writableFinished) resolve();
        else reject(this.#reason());
      });
    });
  }

  close(): void {
    if (this.#isClosed) throw this.#reason();
    this[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#wake();
    if (this.socket.writableLength > 0) this.#cutLater();
    this.socket.destroySoon();
  }

  /** What has been written goes first, unless the client does not take it. */
  #cutLater(): void {
    const timer = setTimeout(() => this.wire.cut(), LAST_CALL);
    this.wire.finished.then(() => clearTimeout(timer));
  }

  get readable(): ReadableStream<Uint8Array<ArrayBuffer>> {
    return this.#readable ??= new ReadableStream({
      type: "bytes",
      autoAllocateChunkSize: CHUNK,
      pull: async (controller) => {
        const request = controller.byobRequest!;
        const length = await this.read(request.view as Uint8Array);
        if (length === null) controller.close();
        request.respond(length ?? 0);
      },
      cancel: () => this[Symbol.dispose](),
    });
  }

  get writable(): WritableStream<Uint8Array<ArrayBufferLike>> {
    return this.#writable ??= new WritableStream({
      write: async (bytes) => void await this.write(bytes),
      close: () => this.closeWrite(),
      abort: () => this[Symbol.dispose](),
    });
  }

  ref(): void {
    this.wire.conn.ref();
  }

  unref(): void {
    this.wire.conn.unref();
  }

  /** Why nothing can be read or written any more. */
  #reason(): unknown {
    if (this.#isClosed) return new Deno.errors.BadResource("Bad resource ID");
    return this.#error ?? new Deno.errors.Interrupted("operation canceled");
  }
}
