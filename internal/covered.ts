/**
 * A connection that is covered: one prototype stands in front of Deno's, shared by
 * all connections of a class, and what it needs of each is in private fields on the
 * connection itself. So it stays Deno's object in every respect: `instanceof`,
 * `closeWrite()`, `console.log()`, disposal. Covered are bytes that were read too
 * early, addresses that are not the real ones, and the waits for the client.
 */
import { dispose } from "./conns.ts";
import { readableOf, writableOf } from "./conn_streams.ts";
import type { Sweep } from "./sweep.ts";

/** What is read too early fits into this, in bytes: a short request whole. */
const BUFFER_SIZE = 1024;
/** How many buffers are kept for the next connections. */
const MAX_POOL = 64;
const pool: Uint8Array<ArrayBuffer>[] = [];

/** Addresses to show in place of the real ones, where there are any. */
export interface ShownAddrs {
  readonly source?: Deno.NetAddr | undefined;
  readonly destination?: Deno.NetAddr | undefined;
}

/** What makes a subclass put its private fields on an object that is there already. */
class Onto {
  constructor(target: object) {
    return target;
  }
}

/**
 * The private fields. A connection that has them does not inherit from this class:
 * only what is static or private can be used.
 */
class Cover extends Onto {
  #buffer: Uint8Array<ArrayBuffer> | undefined; // bytes to give first,
  #start = 0; // from here
  #end = 0; // to here
  #early: Promise<number | null> | undefined; // a read of them that is pending,
  #isUnasked = false; // for which nobody has asked: it keeps no process alive
  #shown: ShownAddrs | undefined;
  #sweep: Sweep<Deno.Conn> | undefined;
  #pending = 0; // operations that wait for the client
  #isTimedOut = false;
  #readable: Deno.Conn["readable"] | undefined;
  #writable: ReturnType<typeof writableOf> | undefined;

  static readonly #prototypes = new Map<object, object>();

  /** The cover of a connection, which has it from now on. */
  static of(conn: Deno.Conn): Cover {
    if (#buffer in conn) return conn as unknown as Cover;
    const prototype = Object.getPrototypeOf(conn);
    let covered = Cover.#prototypes.get(prototype);
    if (covered === undefined) {
      covered = Cover.#inFrontOf(prototype);
      Cover.#prototypes.set(prototype, covered);
    }
    return new Cover(Object.setPrototypeOf(conn, covered));
  }

  static #inFrontOf(prototype: Deno.Conn): object {
    const own = (conn: Deno.Conn) => conn as unknown as Cover;
    const covered = {
      __proto__: prototype,
      read(this: Deno.Conn, p: Uint8Array): Promise<number | null> {
        const cover = own(this);
        const reading = cover.#isAhead
          ? cover.#readFirst(this, p)
          : super.read(p);
        return cover.#sweep ? cover.#timed(this, reading) : reading;
      },
      write(this: Deno.Conn, p: Uint8Array): Promise<number> {
        const writing = super.write(p);
        const cover = own(this);
        return cover.#sweep ? cover.#timed(this, writing) : writing;
      },
      get readable(): Deno.Conn["readable"] {
        const conn = this as unknown as Deno.Conn;
        const cover = own(conn);
        if (cover.#readable) return cover.#readable;
        if (!cover.#isAhead && !cover.#sweep) return super.readable;
        return cover.#readable = readableOf(conn);
      },
      get writable(): Deno.Conn["writable"] {
        const conn = this as unknown as Deno.Conn;
        const cover = own(conn);
        if (!cover.#sweep) return super.writable;
        cover.#writable ??= writableOf(conn);
        return cover.#writable as Deno.Conn["writable"];
      },
      close(this: Deno.Conn): void {
        super.close();
        own(this).#drop();
      },
      [Symbol.dispose](this: Deno.Conn): void {
        super[Symbol.dispose]();
        own(this).#drop();
      },
      get remoteAddr(): Deno.Addr {
        return own(this as unknown as Deno.Conn).#shown?.source ??
          super.remoteAddr;
      },
      get localAddr(): Deno.Addr {
        return own(this as unknown as Deno.Conn).#shown?.destination ??
          super.localAddr;
      },
    };
    for (const key of Reflect.ownKeys(covered)) {
      Object.defineProperty(covered, key, { enumerable: false }); // as Deno's are
    }
    return covered;
  }

  /** Whether there are bytes to give first, or may be. */
  get #isAhead(): boolean {
    return this.#end > 0 || this.#early !== undefined;
  }

  #readFirst(conn: Deno.Conn, p: Uint8Array): Promise<number | null> {
    if (p.length === 0) return Promise.resolve(0);
    if (this.#early) {
      this.#ask(conn);
      return this.#early.then(() => conn.read(p));
    }
    const length = Math.min(p.length, this.#end - this.#start);
    p.set(this.#buffer!.subarray(this.#start, this.#start + length));
    this.#skip(length);
    return Promise.resolve(length);
  }

  static bytesAhead(conn: Deno.Conn): Uint8Array {
    const cover = Cover.of(conn);
    return cover.#buffer?.subarray(cover.#start, cover.#end) ??
      new Uint8Array();
  }

  static skipAhead(conn: Deno.Conn, length: number): void {
    Cover.of(conn).#skip(length);
  }

  #skip(length: number): void {
    this.#start += length;
    if (this.#start < this.#end) return;
    if (this.#buffer?.length === BUFFER_SIZE && pool.length < MAX_POOL) {
      pool.push(this.#buffer);
    }
    this.#drop();
  }

  /** Forgets the bytes. The buffer is not for others: Deno may be reading into it. */
  #drop(): void {
    this.#buffer = undefined;
    this.#start = this.#end = 0;
  }

  static readAhead(conn: Deno.Conn, atMost: number): Promise<number | null> {
    const cover = Cover.of(conn);
    if (cover.#early) return cover.#early; // by who had it before
    const buffer = cover.#room(atMost);
    const settle = (length: number | null) => {
      cover.#ask(conn);
      cover.#early = undefined;
      if (cover.#buffer === buffer) cover.#end += length ?? 0; // it is not closed
      return length;
    };
    return cover.#early = uncovered(conn)
      .read.call(conn, buffer.subarray(cover.#end, cover.#end + atMost))
      .then(settle, (error) => {
        settle(null);
        throw error;
      });
  }

  static handOn(conn: Deno.Conn): void {
    if (#early in conn) {
      const cover = conn as unknown as Cover;
      cover.#isUnasked = cover.#early !== undefined;
      cover.#sweep = undefined; // that was the old owner's
      if (cover.#isUnasked) return;
    }
    conn.ref();
  }

  /** Somebody waits for the bytes that are read too early, or they are there. */
  #ask(conn: Deno.Conn): void {
    if (!this.#isUnasked) return;
    this.#isUnasked = false;
    conn.ref();
  }

  #room(length: number): Uint8Array<ArrayBuffer> {
    this.#buffer ??= pool.pop() ?? new Uint8Array(BUFFER_SIZE);
    if (this.#end + length > this.#buffer.length) {
      const larger = new Uint8Array(this.#end + length);
      larger.set(this.#buffer.subarray(0, this.#end));
      this.#buffer = larger;
    }
    return this.#buffer;
  }

  static showAddrs(conn: Deno.Conn, shown: ShownAddrs): void {
    Cover.of(conn).#shown = shown;
  }

  static shownAddrs(conn: Deno.Conn): ShownAddrs | undefined {
    return #shown in conn ? (conn as unknown as Cover).#shown : undefined;
  }

  static limitIdling(conn: Deno.Conn, sweep: Sweep<Deno.Conn>): void {
    Cover.of(conn).#sweep = sweep;
  }

  static timeOut(conn: Deno.Conn): void {
    Cover.of(conn).#isTimedOut = true;
    dispose(conn);
  }

  /** An operation that may wait for the client, but not for ever. */
  #timed<T>(conn: Deno.Conn, operation: Promise<T>): Promise<T> {
    if (this.#pending++ === 0) this.#sweep!.watch(conn);
    return operation.then((result) => {
      if (--this.#pending === 0) this.#sweep!.forget(conn);
      else this.#sweep!.watch(conn); // for the others it is a sign of life
      return result;
    }, (error) => {
      if (--this.#pending === 0) this.#sweep!.forget(conn);
      throw this.#isTimedOut
        ? new Deno.errors.TimedOut("The client was idle for too long")
        : error;
    });
  }
}

/** The bytes of a connection that were read too early, and are read first. */
export function bytesAhead(conn: Deno.Conn): Uint8Array {
  return Cover.bytesAhead(conn);
}

/** Takes so many of them away: nobody reads them. */
export function skipAhead(conn: Deno.Conn, length: number): void {
  Cover.skipAhead(conn, length);
}

/**
 * Reads bytes of a connection before their time, so many at most. Whoever reads from
 * it later gets them first.
 *
 * @returns How many they were, or null if the client has ended.
 */
export function readAhead(
  conn: Deno.Conn,
  atMost: number = BUFFER_SIZE,
): Promise<number | null> {
  return Cover.readAhead(conn, atMost);
}

/** Lets `remoteAddr` and `localAddr` of a connection be others. */
export function showAddrs(conn: Deno.Conn, shown: ShownAddrs): void {
  Cover.showAddrs(conn, shown);
}

/** The addresses that a connection shows in place of the real ones, if it does. */
export function shownAddrs(conn: Deno.Conn): ShownAddrs | undefined {
  return Cover.shownAddrs(conn);
}

/** The peer's real address, whatever is shown. */
export function realRemoteAddr(conn: Deno.Conn): Deno.Addr {
  if (shownAddrs(conn) === undefined) return conn.remoteAddr;
  return Reflect.get(uncovered(conn), "remoteAddr", conn);
}

/** Deno's own prototype of a covered connection. */
function uncovered(conn: Deno.Conn): Deno.Conn {
  return Object.getPrototypeOf(Object.getPrototypeOf(conn));
}

/** Lets a sweep watch a connection while an operation on it waits for the client. */
export function limitIdling(conn: Deno.Conn, sweep: Sweep<Deno.Conn>): void {
  Cover.limitIdling(conn, sweep);
}

/** Closes a connection that was idle for too long. What waits on it rejects with TimedOut. */
export function timeOut(conn: Deno.Conn): void {
  Cover.timeOut(conn);
}

/**
 * Gives a connection that waited in a stage to whoever asked for it, as Deno would: a
 * read that was begun too early keeps the process alive only if somebody waits for it.
 */
export function handOn(conn: Deno.Conn): void {
  Cover.handOn(conn);
}
