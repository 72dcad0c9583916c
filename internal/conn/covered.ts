/**
 * A connection that is covered: one prototype stands in front of Deno's, shared by
 * all connections of a class, and what it needs of each is in one private field on the
 * connection itself. So it stays Deno's object in every respect: `instanceof`,
 * `closeWrite()`, `console.log()`, disposal. Covered are bytes that were read too
 * early, addresses that are not the real ones, and the waits for the client.
 */
import { Cover, type ShownAddrs } from "./cover.ts";
import type { Sweep } from "../util/sweep.ts";

/** What makes a subclass put its private fields on an object that is there already. */
class Onto {
  constructor(target: object) {
    return target;
  }
}

/** The private field. A connection that has it does not inherit from this class. */
class Covered extends Onto {
  readonly #cover: Cover;

  constructor(conn: Deno.Conn) {
    super(conn);
    this.#cover = new Cover(conn);
  }

  /** The cover of a connection that has one. */
  static of(conn: Deno.Conn): Cover {
    return (conn as unknown as Covered).#cover;
  }

  static has(conn: Deno.Conn): boolean {
    return #cover in conn;
  }
}

const prototypes = new Map<object, object>();

/** The cover of a connection, which has one from now on. */
function cover(conn: Deno.Conn): Cover {
  if (!Covered.has(conn)) {
    const prototype = Object.getPrototypeOf(conn);
    let front = prototypes.get(prototype);
    if (front === undefined) {
      prototypes.set(prototype, front = inFrontOf(prototype));
    }
    new Covered(Object.setPrototypeOf(conn, front));
  }
  return Covered.of(conn);
}

/** Deno's own prototype of a covered connection. */
function uncovered(conn: Deno.Conn): Deno.Conn {
  return Object.getPrototypeOf(Object.getPrototypeOf(conn));
}

function inFrontOf(prototype: Deno.Conn): object {
  const of = (conn: unknown) => Covered.of(conn as Deno.Conn);
  const front = {
    __proto__: prototype,
    read(p: Uint8Array): Promise<number | null> {
      const cover = of(this);
      const reading = cover.isAhead ? cover.readFirst(p) : super.read(p);
      return cover.isTimed ? cover.timed(reading) : reading;
    },
    write(p: Uint8Array): Promise<number> {
      const writing = super.write(p);
      const cover = of(this);
      return cover.isTimed ? cover.timed(writing) : writing;
    },
    get readable(): unknown {
      return of(this).readable ?? super.readable;
    },
    get writable(): unknown {
      return of(this).writable ?? super.writable;
    },
    get remoteAddr(): Deno.Addr {
      return of(this).shown?.source ?? super.remoteAddr;
    },
    get localAddr(): Deno.Addr {
      return of(this).shown?.destination ?? super.localAddr;
    },
    close(): void {
      super.close();
      of(this).drop(); // there is nothing to read any more
    },
    [Symbol.dispose](): void {
      super[Symbol.dispose]();
      of(this).drop();
    },
  };
  for (const key of Reflect.ownKeys(front)) {
    Object.defineProperty(front, key, { enumerable: false }); // as Deno's are
  }
  return front;
}

/** The bytes of a connection that were read too early, and are read first. */
export function bytesAhead(conn: Deno.Conn): Uint8Array {
  return cover(conn).bytes;
}

/** Takes so many of them away: nobody reads them. */
export function skipAhead(conn: Deno.Conn, length: number): void {
  cover(conn).skip(length);
}

/**
 * Reads bytes of a connection before their time. Whoever reads from it later gets them
 * first.
 *
 * @returns Whether there were some before the client has ended.
 */
export function readAhead(conn: Deno.Conn): Promise<boolean> {
  return cover(conn).readAhead((p) => uncovered(conn).read.call(conn, p));
}

/** Lets `remoteAddr` and `localAddr` of a connection be others. */
export function showAddrs(conn: Deno.Conn, shown: ShownAddrs): void {
  cover(conn).shown = shown;
}

/** The addresses that a connection shows in place of the real ones, if it does. */
export function shownAddrs(conn: Deno.Conn): ShownAddrs | undefined {
  return Covered.has(conn) ? Covered.of(conn).shown : undefined;
}

/** The peer's real address, whatever is shown. */
export function realRemoteAddr(conn: Deno.Conn): Deno.Addr {
  if (shownAddrs(conn) === undefined) return conn.remoteAddr;
  return Reflect.get(uncovered(conn), "remoteAddr", conn);
}

/** Lets a sweep watch a connection while an operation on it waits for the client. */
export function limitIdling(conn: Deno.Conn, sweep: Sweep<Deno.Conn>): void {
  cover(conn).limitIdling(sweep);
}

/** Closes a connection that was idle for too long. What waits on it rejects with TimedOut. */
export function timeOut(conn: Deno.Conn): void {
  cover(conn).timeOut();
}

/**
 * Gives a connection that waited in a stage to whoever asked for it, as Deno would: a
 * read that was begun too early keeps the process alive only if somebody waits for it.
 */
export function handOn(conn: Deno.Conn): void {
  if (Covered.has(conn)) Covered.of(conn).handOn();
  else conn.ref();
}
