/**
 * A prototype in front of Deno's, shared by all connections of a class. It overrides what
 * differs: bytes that were read ahead, the addresses of a PROXY header, and waits for the
 * client. Its state is in one private field on the connection. So the connection remains
 * Deno's object: `instanceof`, `console.log()` and disposal work as before.
 */
import type { ParsedHeader } from "../proxy/header.ts";
import type { Sweep } from "../util/sweep.ts";
import { ConnState } from "./conn_state.ts";
import { ReadAhead } from "./read_ahead.ts";
import { readableOf, writableOf } from "./streams.ts";

/**
 * A base class whose constructor returns an existing object. That object then gets the
 * private fields of the subclass.
 */
class ReturnTarget {
  constructor(target: object) {
    return target;
  }
}

/** The private field. A connection that has it is not an instance of this class. */
class StateField extends ReturnTarget {
  readonly #state: ConnState;

  constructor(state: ConnState) {
    super(state.conn);
    this.#state = state;
  }

  static stateOf(conn: unknown): ConnState {
    return (conn as StateField).#state;
  }

  static isOn(conn: object): boolean {
    return #state in conn;
  }
}

const fronts = new Map<object, object>(); // by Deno's prototypes

/** The state of a connection: of the listener that had it before, or a new one. */
export function stateOf(conn: Deno.Conn): ConnState {
  return StateField.isOn(conn) ? StateField.stateOf(conn) : new ConnState(conn);
}

/** Puts the front before a connection's prototype. */
function putFront(state: ConnState): void {
  const { conn } = state;
  if (StateField.isOn(conn)) return;
  const prototype = Object.getPrototypeOf(conn);
  let front = fronts.get(prototype);
  if (front === undefined) fronts.set(prototype, front = makeFront(prototype));
  Object.setPrototypeOf(conn, front);
  new StateField(state);
}

/** The prototype that Deno gave to a connection which has a front now. */
function denoPrototype(conn: Deno.Conn): Deno.Conn {
  return Object.getPrototypeOf(Object.getPrototypeOf(conn));
}

function makeFront(prototype: Deno.TlsConn): object {
  const of = StateField.stateOf;
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
      const isPlain = state.ahead === undefined && state.idle === undefined;
      if (isPlain) return super.readable;
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
  matchKeys(front, prototype);
  return front;
}

/** Hides the keys of a front, as Deno's are, and removes those that the prototype lacks. */
function matchKeys(front: object, prototype: object): void {
  for (const key of Reflect.ownKeys(front)) {
    if (key in prototype) {
      Object.defineProperty(front, key, { enumerable: false });
    } else Reflect.deleteProperty(front, key); // `handshake()`, without TLS
  }
}

/** Reads the bytes that were read ahead; undefined if Deno's `read()` is to be called. */
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
 * first. `state.onCome` is called when bytes have arrived, or the client has gone.
 */
export function readAhead(state: ConnState): void {
  if (isReadAhead(state)) return; // begun by the listener before this one
  putFront(state);
  const { conn } = state;
  const ahead = state.ahead ??= new ReadAhead();
  const reading = denoPrototype(conn).read.call(conn, ahead.room());
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

/** Makes a connection show the addresses of its PROXY header. */
export function showAddrs(state: ConnState, header: ParsedHeader): void {
  putFront(state);
  state.header = header;
}

/** Limits how long operations on a connection wait for the client. */
export function limitIdling(state: ConnState, sweep: Sweep<ConnState>): void {
  putFront(state);
  state.idle = sweep;
}

/**
 * Sets whether the pending operation on a connection was begun by the listener, and does
 * not keep the process alive. Afterwards, the program's own `ref()` and `unref()` hold
 * again.
 */
export function keepInBackground(
  state: ConnState,
  isBackground: boolean,
): void {
  if (isBackground === state.isBackground || !StateField.isOn(state.conn)) {
    return;
  }
  state.isBackground = isBackground;
  const { conn } = state;
  if (isBackground) denoPrototype(conn).unref.call(conn);
  else if (state.isRefed) denoPrototype(conn).ref.call(conn);
}

/**
 * Prepares a connection for the program: a read that the listener has begun keeps the
 * process alive only when the program waits for it.
 */
export function handOver(state: ConnState): void {
  state.onCome = undefined;
  keepInBackground(state, isReadAhead(state) && !state.ahead!.isAsked);
}

/** The PROXY header of a connection, if it has one. */
export function headerOf(conn: Deno.Conn): ParsedHeader | undefined {
  return StateField.isOn(conn) ? StateField.stateOf(conn).header : undefined;
}

/** The address of the peer itself, whatever its PROXY header says. */
export function realRemoteAddr(conn: Deno.Conn): Deno.Addr {
  if (headerOf(conn) === undefined) return conn.remoteAddr;
  return Reflect.get(denoPrototype(conn), "remoteAddr", conn);
}
