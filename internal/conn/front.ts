/**
 * A prototype in front of Deno's, shared by all connections of a class. It covers bytes
 * that were read ahead, addresses that a proxy has said, and waits for the client. What
 * it needs of a connection is in one private field on the connection itself, which so
 * stays Deno's object in every respect: `instanceof`, `console.log()`, disposal.
 */
import type { ParsedHeader } from "../proxy/header.ts";
import type { Sweep } from "../util/sweep.ts";
import { ConnState } from "./conn_state.ts";
import { ReadAhead } from "./read_ahead.ts";
import { readableOf, writableOf } from "./streams.ts";

/** Makes a subclass put its private fields on an object that exists already. */
class Onto {
  constructor(target: object) {
    return target;
  }
}

/** The private field. A connection that has it does not inherit from this class. */
class Stamp extends Onto {
  readonly #state: ConnState;

  constructor(state: ConnState) {
    super(state.conn);
    this.#state = state;
  }

  static stateOf(conn: unknown): ConnState {
    return (conn as Stamp).#state;
  }

  static isOn(conn: object): boolean {
    return #state in conn;
  }
}

const fronts = new Map<object, object>(); // by Deno's prototypes

/** What is known of a connection: by a listener that had it before, or nothing yet. */
export function stateOf(conn: Deno.Conn): ConnState {
  return Stamp.isOn(conn) ? Stamp.stateOf(conn) : new ConnState(conn);
}

/** Puts the front before a connection's prototype. */
function cover(state: ConnState): void {
  const { conn } = state;
  if (Stamp.isOn(conn)) return;
  const prototype = Object.getPrototypeOf(conn);
  let front = fronts.get(prototype);
  if (front === undefined) fronts.set(prototype, front = inFrontOf(prototype));
  Object.setPrototypeOf(conn, front);
  new Stamp(state);
}

/** Deno's own prototype of a connection that has a front. */
function denosOwn(conn: Deno.Conn): Deno.Conn {
  return Object.getPrototypeOf(Object.getPrototypeOf(conn));
}

function inFrontOf(prototype: Deno.TlsConn): object {
  const of = Stamp.stateOf;
  const timed = <T>(conn: unknown, operation: Promise<T>): Promise<T> => {
    const state = of(conn);
    return state.idle === undefined ? operation : state.timed(operation);
  };
  const front = {
    __proto__: prototype,
    read(p: Uint8Array): Promise<number | null> {
      const state = of(this);
      const ahead = state.ahead === undefined ? undefined : readFirst(state, p);
      return timed(this, ahead ?? super.read(p));
    },
    write(p: Uint8Array): Promise<number> {
      return timed(this, super.write(p));
    },
    closeWrite(): Promise<void> {
      return timed(this, super.closeWrite()); // with TLS, after the handshake
    },
    handshake(): Promise<Deno.TlsHandshakeInfo> {
      return timed(this, super.handshake());
    },
    get readable(): unknown {
      const state = of(this);
      if (state.readable !== undefined) return state.readable;
      const isDenos = state.ahead === undefined && state.idle === undefined;
      if (isDenos) return super.readable;
      return state.readable = readableOf(state.conn);
    },
    get writable(): unknown {
      const state = of(this);
      if (state.writable !== undefined) return state.writable;
      if (state.idle === undefined) return super.writable;
      return state.writable = writableOf(state.conn);
    },
    get remoteAddr(): Deno.Addr {
      return of(this).header?.source ?? super.remoteAddr;
    },
    get localAddr(): Deno.Addr {
      return of(this).header?.destination ?? super.localAddr;
    },
    ref(): void {
      const state = of(this);
      state.isRefed = true;
      if (!state.isBackground) super.ref();
    },
    unref(): void {
      of(this).isRefed = false;
      super.unref();
    },
    close(): void {
      super.close();
      of(this).forget();
    },
    [Symbol.dispose](): void {
      super[Symbol.dispose]();
      of(this).forget();
    },
  };
  for (const key of Reflect.ownKeys(front)) {
    if (key in prototype) {
      Object.defineProperty(front, key, { enumerable: false }); // as Deno's are
    } else Reflect.deleteProperty(front, key); // `handshake()`, without TLS
  }
  return front;
}

/** Gives what was read ahead; undefined if Deno is to be asked. */
function readFirst(
  state: ConnState,
  p: Uint8Array,
): Promise<number | null> | undefined {
  if (!(p instanceof Uint8Array)) return undefined; // Deno refuses it
  const { conn } = state;
  const ahead = state.ahead!;
  if (p.length === 0) return Promise.resolve(0);
  const first = ahead.read(p);
  if (first === undefined && ahead.reading !== undefined) {
    ahead.isAsked = true;
    keepInBackground(state, false);
    return ahead.reading.then(() => conn.read(p));
  }
  if (ahead.isEmpty) state.ahead = undefined;
  return first;
}

/**
 * Begins to read from a connection before the program does, which gets these bytes
 * first. `state.onCome` is called when something has come, or the client has gone.
 */
export function readAhead(state: ConnState): void {
  if (isReadAhead(state)) return; // begun by a listener that had it before
  cover(state);
  const { conn } = state;
  const ahead = state.ahead ??= new ReadAhead();
  const reading = denosOwn(conn).read.call(conn, ahead.room());
  ahead.reading = reading.then((length) => {
    ahead.settle(length);
    onCome(state);
  }, (error) => {
    ahead.fail(error);
    onCome(state);
  });
}

function onCome(state: ConnState): void {
  if (state.onCome !== undefined) state.onCome(state);
  else keepInBackground(state, false); // nothing is pending any more
}

/** Whether a read that the program has not begun is pending. */
export function isReadAhead(state: ConnState): boolean {
  return state.ahead?.reading !== undefined;
}

/** Lets a connection show the addresses that a proxy has said. */
export function showAddrs(state: ConnState, header: ParsedHeader): void {
  cover(state);
  state.header = header;
}

/** Lets no operation on a connection wait too long for the client. */
export function limitIdling(state: ConnState, sweep: Sweep<ConnState>): void {
  cover(state);
  state.idle = sweep;
}

/**
 * Says whether what is pending on a connection was begun by the listener only, and
 * keeps the process alive for nobody. What the program says by `ref()` and `unref()`
 * holds again afterwards.
 */
export function keepInBackground(
  state: ConnState,
  isBackground: boolean,
): void {
  if (isBackground === state.isBackground || !Stamp.isOn(state.conn)) return;
  state.isBackground = isBackground;
  const { conn } = state;
  if (isBackground) denosOwn(conn).unref.call(conn);
  else if (state.isRefed) denosOwn(conn).ref.call(conn);
}

/**
 * Hands a connection on as Deno would: a read that the listener has begun keeps the
 * process alive only once the program waits for it.
 */
export function handOver(state: ConnState): void {
  state.onCome = undefined;
  keepInBackground(state, isReadAhead(state) && !state.ahead!.isAsked);
}

/** The header that a proxy has sent on a connection, if it has. */
export function headerOf(conn: Deno.Conn): ParsedHeader | undefined {
  return Stamp.isOn(conn) ? Stamp.stateOf(conn).header : undefined;
}

/** The peer's real address, whatever a proxy has said. */
export function realRemoteAddr(conn: Deno.Conn): Deno.Addr {
  if (headerOf(conn) === undefined) return conn.remoteAddr;
  return Reflect.get(denosOwn(conn), "remoteAddr", conn);
}
