import { dispose } from "./close.ts";
import { readableOf, writableOf } from "./streams.ts";
import type { Sweep } from "../util/sweep.ts";

/** What is read too early fits into this, in bytes: a short request whole. */
const BUFFER_SIZE = 1024;
/** How many buffers are kept for the next connections. */
const MAX_POOL = 64;
const pool: Uint8Array<ArrayBuffer>[] = [];
const NO_BYTES = new Uint8Array();

/** Addresses to show in place of the real ones, where there are any. */
export interface ShownAddrs {
  readonly source?: Deno.NetAddr | undefined;
  readonly destination?: Deno.NetAddr | undefined;
}

/** Reads from the connection itself, whatever covers it. */
type Read = (p: Uint8Array) => Promise<number | null>;

/** What a covered connection has beside Deno's own. */
export class Cover {
  readonly #conn: Deno.Conn;
  #buffer: Uint8Array<ArrayBuffer> | undefined; // bytes to give first,
  #start = 0; // from here
  #end = 0; // to here
  #early: Promise<boolean> | undefined; // a read of them that is pending,
  #isUnasked = false; // for which nobody has asked: it keeps no process alive
  #sweep: Sweep<Deno.Conn> | undefined;
  #pending = 0; // operations that wait for the client
  #isTimedOut = false;
  #readable: ReturnType<typeof readableOf> | undefined;
  #writable: ReturnType<typeof writableOf> | undefined;
  /** The addresses that it shows. */
  shown: ShownAddrs | undefined;

  constructor(conn: Deno.Conn) {
    this.#conn = conn;
  }

  /** Whether there are bytes to give first, or may be. */
  get isAhead(): boolean {
    return this.#end > 0 || this.#early !== undefined;
  }

  /** Whether operations on it may not wait too long. */
  get isTimed(): boolean {
    return this.#sweep !== undefined;
  }

  /** The bytes that were read too early. */
  get bytes(): Uint8Array {
    return this.#buffer?.subarray(this.#start, this.#end) ?? NO_BYTES;
  }

  /** Reads bytes too early; whether there were some before the end. */
  readAhead(read: Read): Promise<boolean> {
    if (this.#early) return this.#early; // by who had it before
    const buffer = this.#room();
    const settle = (length: number | null) => {
      this.#ask();
      this.#early = undefined;
      if (this.#buffer === buffer) this.#end += length ?? 0; // it is not closed
      return length !== null;
    };
    return this.#early = read(buffer.subarray(this.#end))
      .then(settle, (error) => {
        settle(null);
        throw error;
      });
  }

  /** A buffer with room for more than it has. */
  #room(): Uint8Array<ArrayBuffer> {
    this.#buffer ??= pool.pop() ?? new Uint8Array(BUFFER_SIZE);
    if (this.#end === this.#buffer.length) {
      const larger = new Uint8Array(this.#end * 2);
      larger.set(this.#buffer);
      this.#buffer = larger;
    }
    return this.#buffer;
  }

  /** Gives the bytes that come first. */
  readFirst(p: Uint8Array): Promise<number | null> {
    if (p.length === 0) return Promise.resolve(0);
    if (this.#early) {
      this.#ask();
      return this.#early.then(() => this.#conn.read(p));
    }
    const length = Math.min(p.length, this.#end - this.#start);
    p.set(this.#buffer!.subarray(this.#start, this.#start + length));
    this.skip(length);
    return Promise.resolve(length);
  }

  /** Takes so many of them away: nobody reads them. */
  skip(length: number): void {
    this.#start += length;
    if (this.#start < this.#end) return;
    if (this.#buffer?.length === BUFFER_SIZE && pool.length < MAX_POOL) {
      pool.push(this.#buffer);
    }
    this.drop();
  }

  /** Forgets them. The buffer is not for others: Deno may be reading into it. */
  drop(): void {
    this.#buffer = undefined;
    this.#start = this.#end = 0;
  }

  /** As Deno would give it: nothing that was begun too early keeps the process alive. */
  handOn(): void {
    this.#sweep = undefined; // that was the old owner's
    this.#isUnasked = this.#early !== undefined;
    if (!this.#isUnasked) this.#conn.ref();
  }

  /** Somebody waits for the bytes that are read too early, or they are there. */
  #ask(): void {
    if (!this.#isUnasked) return;
    this.#isUnasked = false;
    this.#conn.ref();
  }

  /** Lets a sweep watch it while an operation on it waits for the client. */
  limitIdling(sweep: Sweep<Deno.Conn>): void {
    this.#sweep = sweep;
  }

  /** Closes it for being idle. What waits on it rejects with TimedOut. */
  timeOut(): void {
    this.#isTimedOut = true;
    dispose(this.#conn);
  }

  /** An operation that may wait for the client, but not too long. */
  timed<T>(operation: Promise<T>): Promise<T> {
    const sweep = this.#sweep!;
    if (this.#pending++ === 0) sweep.watch(this.#conn);
    return operation.then((result) => {
      if (--this.#pending === 0) sweep.forget(this.#conn);
      else sweep.watch(this.#conn); // for the others it is a sign of life
      return result;
    }, (error) => {
      if (--this.#pending === 0) sweep.forget(this.#conn);
      throw this.#isTimedOut
        ? new Deno.errors.TimedOut("The client was idle for too long")
        : error;
    });
  }

  /** The stream over `read()`, which stays the same; undefined where Deno's will do. */
  get readable(): ReturnType<typeof readableOf> | undefined {
    if (this.#readable === undefined && (this.isAhead || this.isTimed)) {
      this.#readable = readableOf(this.#conn);
    }
    return this.#readable;
  }

  /** The stream over `write()`; undefined where Deno's will do. */
  get writable(): ReturnType<typeof writableOf> | undefined {
    if (this.#writable === undefined && this.isTimed) {
      this.#writable = writableOf(this.#conn);
    }
    return this.#writable;
  }
}
