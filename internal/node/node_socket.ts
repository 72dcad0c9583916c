/** An accepted connection, as servers that are written for Node expect it. */
import { Buffer } from "node:buffer";
import { Duplex } from "node:stream";
import { isPeerGoneWhileServed } from "../util/failures.ts";
import { familyOf, hostOf, portOf } from "./addresses.ts";
import { isClosedHere } from "./closed_here.ts";
import { IdleTimer } from "./idle_timer.ts";
import { nextSize, SMALL } from "./read_size.ts";
import { setTcpOption } from "./tcp_option.ts";

type Done = (error?: Error | null) => void;

/** The options of a {@linkcode NodeSocket}. */
export interface NodeSocketOptions {
  /**
   * Whether the socket stays writable when the client has sent everything. If not, it
   * ends by itself then.
   *
   * @default {false}
   */
  allowHalfOpen?: boolean | undefined;
}

/** An address as `socket.address()` of Node gives it. */
export interface NodeAddress {
  /** The IP address. */
  address: string;
  /** `"IPv4"` or `"IPv6"`. */
  family: string;
  /** The port. */
  port: number;
}

/**
 * A `Deno.Conn` with the methods and properties of Node's `net.Socket`.
 *
 * It is a stream (`stream.Duplex`). Its addresses are those of the connection, so
 * behind a load balancer they are what the PROXY header says. Without a listener for
 * `"error"`, an error only closes the socket.
 *
 * @example Usage
 * ```ts
 * import { listen } from "@evconn/listener";
 * import { NodeSocket } from "@evconn/listener/node";
 * import { assertEquals } from "@std/assert";
 * import { pipeline } from "node:stream/promises";
 * import { createGzip } from "node:zlib";
 *
 * await using listener = listen({ port: 0 }, async (conn) => {
 *   const socket = new NodeSocket(conn, { allowHalfOpen: true });
 *   await pipeline(socket, createGzip(), socket);
 * });
 *
 * using client = await Deno.connect({ port: listener.addr.port });
 * await client.write(new TextEncoder().encode("hello"));
 * await client.closeWrite();
 * const answer = client.readable.pipeThrough(new DecompressionStream("gzip"));
 * assertEquals(await new Response(answer).text(), "hello");
 * ```
 */
export class NodeSocket extends Duplex {
  readonly #conn: Deno.Conn;
  readonly #finished = Promise.withResolvers<void>();
  readonly #timer = new IdleTimer(() => this.emit("timeout"));
  #buffer = new Uint8Array(SMALL);
  #bytesRead = 0;
  #bytesWritten = 0;

  /**
   * Makes a socket of a connection. The socket reads from it and closes it.
   *
   * @param conn The connection.
   * @param options Whether the socket may be half open.
   */
  constructor(conn: Deno.Conn, options: NodeSocketOptions = {}) {
    super({ allowHalfOpen: options.allowHalfOpen ?? false });
    this.#conn = conn;
    this.read(0); // so that it learns of the end, also if nobody reads
  }

  /**
   * Resolves when the connection is closed, also after `removeAllListeners()`. Never
   * rejects.
   */
  get finished(): Promise<void> {
    return this.#finished.promise;
  }

  /** The client's IP address; undefined on a Unix socket. */
  get remoteAddress(): string | undefined {
    return hostOf(this.#conn.remoteAddr);
  }

  /** The client's port; undefined on a Unix socket. */
  get remotePort(): number | undefined {
    return portOf(this.#conn.remoteAddr);
  }

  /** `"IPv4"` or `"IPv6"`; undefined on a Unix socket. */
  get remoteFamily(): string | undefined {
    return familyOf(this.#conn.remoteAddr);
  }

  /** The IP address that the client has connected to; undefined on a Unix socket. */
  get localAddress(): string | undefined {
    return hostOf(this.#conn.localAddr);
  }

  /** The port that the client has connected to; undefined on a Unix socket. */
  get localPort(): number | undefined {
    return portOf(this.#conn.localAddr);
  }

  /** `"IPv4"` or `"IPv6"`; undefined on a Unix socket. */
  get localFamily(): string | undefined {
    return familyOf(this.#conn.localAddr);
  }

  /**
   * The address that the client has connected to.
   *
   * @returns The address; an empty object on a Unix socket.
   */
  address(): NodeAddress | Record<string, never> {
    const { localAddress: address, localFamily: family, localPort: port } =
      this;
    if (address === undefined) return {};
    return { address, family: family!, port: port! };
  }

  /** Always false: the connection has been accepted. */
  get connecting(): boolean {
    return false;
  }

  /** Always false: the connection has been accepted. */
  get pending(): boolean {
    return false;
  }

  /** Whether the connection is a `Deno.TlsConn`. */
  get encrypted(): boolean {
    return "handshake" in this.#conn;
  }

  /** Which of reading and writing is still possible. */
  get readyState(): "open" | "readOnly" | "writeOnly" | "closed" {
    if (this.readable) return this.writable ? "open" : "readOnly";
    return this.writable ? "writeOnly" : "closed";
  }

  /** How many bytes have come. */
  get bytesRead(): number {
    return this.#bytesRead;
  }

  /** How many bytes have been sent. */
  get bytesWritten(): number {
    return this.#bytesWritten;
  }

  /** What `setTimeout()` was last called with, in ms. */
  get timeout(): number {
    return this.#timer.ms;
  }

  /**
   * Emits `"timeout"` when nothing has been read or written for so many ms. The socket
   * stays open. This keeps no process alive.
   *
   * @param ms The time in ms; 0 for none.
   * @param callback A listener for the next `"timeout"`.
   * @returns The socket.
   */
  setTimeout(ms: number, callback?: () => void): this {
    this.#timer.ms = this.destroyed ? 0 : ms;
    if (callback && ms > 0) this.once("timeout", callback);
    else if (callback) this.off("timeout", callback);
    return this;
  }

  /**
   * Sends small packets at once, or not. Does nothing where the connection cannot do it.
   *
   * @param noDelay Whether to send small writes at once.
   * @returns The socket.
   */
  setNoDelay(noDelay = true): this {
    setTcpOption(this.#conn, "setNoDelay", noDelay);
    return this;
  }

  /**
   * Has the system find out whether the client is still there, or not. Does nothing
   * where the connection cannot do it.
   *
   * @param keepAlive Whether to look for clients that have vanished.
   * @returns The socket.
   */
  setKeepAlive(keepAlive = false): this {
    setTcpOption(this.#conn, "setKeepAlive", keepAlive);
    return this;
  }

  /**
   * Makes the socket keep the process alive, as it does by default.
   *
   * @returns The socket.
   */
  ref(): this {
    this.#conn.ref();
    return this;
  }

  /**
   * Lets the process end although the socket is open.
   *
   * @returns The socket.
   */
  unref(): this {
    this.#conn.unref();
    return this;
  }

  /** Closes the socket as soon as everything has been written. */
  destroySoon(): void {
    // A callback, because removeAllListeners() would take a listener away.
    this.end(() => this.destroy());
  }

  /** @ignore */
  override _read(): void {
    this.#conn.read(this.#buffer).then(
      (length) => this.#received(length),
      (error) => this.#fail(error),
    );
  }

  #received(length: number | null): void {
    if (length === null) {
      this.push(null);
      this.read(0); // ends it, also if nobody reads
      return;
    }
    this.#bytesRead += length;
    this.#timer.touch();
    this.push(this.#take(length));
  }

  /** What has been read. The next buffer is as large as this client needs it. */
  #take(length: number): Buffer {
    const buffer = this.#buffer;
    const size = nextSize(buffer.length, length);
    const isSmall = length <= SMALL / 2;
    if (size !== buffer.length || !isSmall) this.#buffer = new Uint8Array(size);
    return isSmall
      ? Buffer.from(buffer.subarray(0, length)) // a copy, and the buffer stays
      : Buffer.from(buffer.buffer, 0, length);
  }

  /** @ignore */
  override _write(bytes: Uint8Array, _encoding: string, done: Done): void {
    this.#send(bytes, done);
  }

  /** @ignore */
  override _writev(chunks: { chunk: Uint8Array }[], done: Done): void {
    this.#send(Buffer.concat(chunks.map(({ chunk }) => chunk)), done);
  }

  #send(bytes: Uint8Array, done: Done): void {
    this.#conn.write(bytes).then((length) => {
      this.#bytesWritten += length;
      this.#timer.touch();
      if (length < bytes.length) this.#send(bytes.subarray(length), done);
      else done();
    }, (error) => this.#fail(error));
  }

  /** @ignore */
  override _final(done: Done): void {
    this.#conn.closeWrite().then(
      () => done(),
      (error) => done(isPeerGoneWhileServed(error) ? null : error),
    );
  }

  /** The client has gone, or the listener has closed the connection. */
  #fail(error: Error): void {
    this.destroy(isClosedHere(error) ? undefined : error);
  }

  /** @ignore */
  override _destroy(error: Error | null, done: Done): void {
    if (error !== null) ignoreErrors(this);
    this.#timer.stop();
    this.#conn[Symbol.dispose]();
    this.#finished.resolve();
    done(error);
  }
}

/** An error that nobody listens for must not end the process. */
function ignoreErrors(socket: NodeSocket): void {
  const { emit } = socket;
  // Not a listener, which removeAllListeners() would take away.
  socket.emit = (event: string | symbol, ...args: unknown[]) =>
    event === "error" && socket.listenerCount("error") === 0
      ? false
      : Reflect.apply(emit, socket, [event, ...args]);
}
