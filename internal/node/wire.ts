/** A connection as `node:tls` wants what is below it. */
import { Buffer } from "node:buffer";
import { EventEmitter } from "node:events";
import type { TLSSocket } from "node:tls";
import { isClosedHere } from "./closed_here.ts";
import { LAST_CALL } from "./last_call.ts";
import { nextSize, SMALL } from "./read_size.ts";
import { setTcpOption } from "./tcp_option.ts";

/**
 * Reads and writes encrypted bytes. It has only those parts of a stream that Deno's
 * `TLSSocket` asks for: with a whole `Duplex`, a handshake takes a fifth more CPU time.
 */
export class Wire extends EventEmitter {
  /** The connection. */
  readonly conn: Deno.Conn;
  /** How many bytes have come. */
  bytesRead = 0;
  /** Whether it is closed, or will be in a moment. */
  destroyed = false;
  // What TLSSocket looks at when it begins.
  readonly readable = true;
  readonly writable = true;
  readonly allowHalfOpen = true;
  /** Nothing is ever kept. */
  readonly readableLength = 0;
  readonly #finished = Promise.withResolvers<void>();
  #buffer = new Uint8Array(SMALL);
  #isFlowing = false;
  /** Whether a read is under way, or what it has brought is being taken. */
  #isBusy = false;
  /** What came while nothing was to flow. */
  #held: number | null | undefined;
  #above: TLSSocket | undefined;
  #isWriting = false;
  #isCut = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(conn: Deno.Conn) {
    super();
    this.conn = conn;
    // A flight of a handshake may be several writes, and none should wait for another.
    setTcpOption(conn, "setNoDelay", true);
  }

  /** Resolves when the connection is closed. */
  get finished(): Promise<void> {
    return this.#finished.promise;
  }

  /**
   * Reads no faster than the socket above is read. Deno's `TLSSocket` takes everything
   * and keeps it, and then may forget that the client has ended.
   */
  follow(above: TLSSocket): void {
    this.#above = above;
    const read = above._read;
    above._read = (size) => {
      read.call(above, size);
      this.resume();
    };
  }

  pause(): void {
    this.#isFlowing = false;
  }

  resume(): void {
    this.#isFlowing = true;
    if (this.#held === undefined) this.#read();
    else this.#deliver(this.#held);
  }

  #read(): void {
    if (this.#isBusy || !this.#isFlowing || this.destroyed) return;
    this.#isBusy = true;
    this.conn.read(this.#buffer).then((length) => {
      if (this.#isFlowing) this.#deliver(length);
      else this.#held = length;
    }, (error) => this.#fail(error));
  }

  #deliver(length: number | null): void {
    this.#held = undefined;
    if (length === null) {
      this.emit("end"); // and nothing is read any more
      return;
    }
    this.bytesRead += length;
    const { buffer } = this.#buffer;
    const size = nextSize(buffer.byteLength, length);
    this.emit("data", Buffer.from(buffer, 0, length)); // decrypted before it returns
    if (size !== buffer.byteLength) this.#buffer = new Uint8Array(size);
    const above = this.#above;
    if (above && above.readableLength >= above.readableHighWaterMark) {
      this.pause();
    }
    this.#isBusy = false;
    this.#read();
  }

  write(bytes: Uint8Array, done: () => void): void {
    this.#isWriting = true;
    this.conn.write(bytes).then((length) => {
      if (length < bytes.length) {
        return this.write(bytes.subarray(length), done);
      }
      this.#isWriting = false;
      done(); // which may write more
      if (this.destroyed && !this.#isWriting) this.cut();
    }, (error) => this.#fail(error));
  }

  #fail(error: Error): void {
    if (!this.#isCut && !isClosedHere(error)) this.emit("error", error);
    this.cut();
  }

  /** Closes the connection when the last words have been written: there may be some. */
  destroy(): void {
    if (this.destroyed) return;
    this.destroyed = true;
    // TLSSocket says them in a microtask that may begin after this one.
    Promise.resolve().then(() => {}).then(() => {
      if (!this.#isWriting) return this.cut();
      this.#timer = setTimeout(() => this.cut(), LAST_CALL);
    });
  }

  /** Closes the connection at once. */
  cut(): void {
    if (this.#isCut) return;
    this.#isCut = this.destroyed = true;
    clearTimeout(this.#timer);
    this.conn[Symbol.dispose]();
    this.emit("close");
    this.#finished.resolve();
  }
}
