/** An accepted connection for what is written for Node. */
import { Duplex } from "node:stream";

type Done = (error?: Error | null) => void;

/**
 * A connection as a stream of Node's. Unlike `Duplex.fromWeb()` it keeps half-close,
 * and it has what `node:http` asks of a socket.
 */
export class ConnStream extends Duplex {
  readonly #conn: Deno.TcpConn;
  readonly #buffer = new Uint8Array(16 * 1024);
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(conn: Deno.TcpConn) {
    super();
    this.#conn = conn;
  }

  get remoteAddress(): string {
    return this.#conn.remoteAddr.hostname;
  }

  get remotePort(): number {
    return this.#conn.remoteAddr.port;
  }

  /**
   * After so many ms there is a "timeout" event, unless another time is set: `node:http`
   * sets one when it begins to wait for a request, and 0 when there is one.
   */
  setTimeout(ms: number): this {
    clearTimeout(this.#timer);
    if (ms > 0) this.#timer = setTimeout(() => this.emit("timeout"), ms);
    return this;
  }

  override async _read() {
    try {
      const length = await this.#conn.read(this.#buffer);
      this.push(length === null ? null : this.#buffer.slice(0, length));
    } catch (error) {
      this.destroy(error as Error);
    }
  }

  override async _write(bytes: Uint8Array, _encoding: string, done: Done) {
    try {
      for (let sent = 0; sent < bytes.length;) {
        sent += await this.#conn.write(bytes.subarray(sent));
      }
      done();
    } catch (error) {
      done(error as Error);
    }
  }

  override _final(done: Done) {
    this.#conn.closeWrite().then(() => done(), done);
  }

  override _destroy(error: Error | null, done: Done) {
    clearTimeout(this.#timer);
    this.#conn[Symbol.dispose]();
    done(error);
  }
}
